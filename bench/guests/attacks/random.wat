;; Asks for 64 KiB of random bytes, for ever.
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $for_ever
      (drop (call $random_get (i32.const 0) (i32.const 0x10000)))
      (br $for_ever))))
