;; Writes to all of 64 MiB again and again, which nothing can interrupt in the middle.
(module
  (memory (export "memory") 1024)
  (func (export "_start")
    (loop $for_ever
      (memory.fill (i32.const 0) (i32.const 7) (i32.const 67108864))
      (br $for_ever))))
