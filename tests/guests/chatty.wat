;; Prints 56 KiB in lines of 64 bytes, and waits until its stdin is closed.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\40\00\00\00")
  (data (i32.const 16) "\80\00\00\00\40\00\00\00")
  (data (i32.const 127) "\n")
  (func (export "_start")
    (local $left i32)
    (memory.fill (i32.const 64) (i32.const 120) (i32.const 63))
    (local.set $left (i32.const 896))
    (loop $line
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $line (local.get $left)))
    (loop $more
      (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32)))
      (br_if $more (i32.load (i32.const 32))))))
