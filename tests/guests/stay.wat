;; Prints "up", waits until its stdin is closed, prints "bye" and ends well: a polite guest.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\03\00\00\00")
  (data (i32.const 8) "\48\00\00\00\04\00\00\00")
  (data (i32.const 16) "\80\00\00\00\40\00\00\00")
  (data (i32.const 64) "up\n")
  (data (i32.const 72) "bye\n")
  (func (export "_start")
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    (loop $more
      (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32)))
      (br_if $more (i32.load (i32.const 32))))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 32)))))
