;; Fills a memory of 256 MiB for ever: one instruction that nothing interrupts.
(module
  (memory (export "memory") 4096)
  (func (export "_start")
    (loop $for_ever
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x10000000))
      (br $for_ever))))
