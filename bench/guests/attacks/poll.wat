;; Asks for 1,024 moments that are over, for ever.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (loop $for_ever
      (drop (call $poll_oneoff
        (i32.const 0) (i32.const 0x10000) (i32.const 1024) (i32.const 0x1fff0)))
      (br $for_ever))))
