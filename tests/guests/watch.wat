;; Prints the file /app/text whenever its first byte is another one than before, until it is
;; stopped. Exits with the errno where it can't be opened.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 512) "app/text")
  ;; One subscription to the monotonic clock: 20 ms from now.
  (func $pause
    (i64.store (i32.const 128) (i64.const 0))
    (i32.store8 (i32.const 136) (i32.const 0))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (i64.const 20000000))
    (i64.store (i32.const 160) (i64.const 0))
    (i32.store16 (i32.const 168) (i32.const 0))
    (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 16))))
  (func (export "_start") (local $errno i32) (local $last i32)
    (loop $again
      (local.set $errno (call $open (i32.const 3) (i32.const 1) (i32.const 512) (i32.const 8)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 20)))
      (if (local.get $errno) (then (call $exit (local.get $errno))))
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $read (i32.load (i32.const 20)) (i32.const 0) (i32.const 1) (i32.const 16)))
      (drop (call $close (i32.load (i32.const 20))))
      (if (i32.ne (local.get $last) (i32.load8_u (i32.const 1024)))
        (then
          (local.set $last (i32.load8_u (i32.const 1024)))
          (i32.store (i32.const 4) (i32.load (i32.const 16)))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))
      (call $pause)
      (br $again))))
