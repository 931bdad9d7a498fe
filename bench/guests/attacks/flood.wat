;; Writes 64 KiB of newlines to stdout for ever: each of them a line to the host.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\00\00\01\00\00\00\01\00")
  (func (export "_start")
    (memory.fill (i32.const 0x10000) (i32.const 10) (i32.const 0x10000))
    (loop $for_ever
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (br $for_ever))))
