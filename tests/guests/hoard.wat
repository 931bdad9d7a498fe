;; Takes 140 MiB, writes to all of it, says so, and waits until its stdin is closed.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\05\00\00\00")
  (data (i32.const 16) "\80\00\00\00\40\00\00\00")
  (data (i32.const 64) "full\n")
  (func (export "_start")
    (drop (memory.grow (i32.const 2240)))
    (memory.fill (i32.const 65536) (i32.const 7) (i32.const 146800640))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    (loop $more
      (drop (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 32)))
      (br_if $more (i32.load (i32.const 32))))))
