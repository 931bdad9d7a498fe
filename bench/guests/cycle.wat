;; CYCLES times: makes a small file in the first preopened directory, writes it, asks for its
;; facts and removes it, with the five calls that this takes and nothing between them. Then
;; prints a dot. Traps where a call fails.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $path_unlink_file (param i32 i32 i32) (result i32)))

  (memory (export "memory") 1)
  (data (i32.const 0) "small")
  (data (i32.const 8) ".")
  ;; Two lists of one buffer each: 64 bytes of zeros for the file, the dot for stdout.
  (data (i32.const 16) "\00\01\00\00\40\00\00\00")
  (data (i32.const 24) "\08\00\00\00\01\00\00\00")

  (func $ok (param $errno i32)
    (if (local.get $errno) (then unreachable)))

  (func $cycle
    ;; O_CREAT and O_EXCL; the rights to read and to write.
    (call $ok (call $path_open
      (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 5)
      (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 32)))
    (call $ok (call $fd_write (i32.load (i32.const 32)) (i32.const 16) (i32.const 1) (i32.const 36)))
    (call $ok (call $fd_close (i32.load (i32.const 32))))
    (call $ok (call $path_filestat_get
      (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 5) (i32.const 64)))
    (call $ok (call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 5))))

  (func (export "_start")
    (local $left i32)
    (local.set $left (i32.const CYCLES))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (call $cycle)
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (call $ok (call $fd_write (i32.const 1) (i32.const 24) (i32.const 1) (i32.const 36)))))
