;; Looks up a path of 2,000 steps that stay where they are, for ever.
(module
  (import "wasi_snapshot_preview1" "path_filestat_get"
    (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    (local $at i32)
    (loop $fill
      ;; "./" again and again.
      (i32.store16 (local.get $at) (i32.const 0x2f2e))
      (local.set $at (i32.add (local.get $at) (i32.const 2)))
      (br_if $fill (i32.lt_u (local.get $at) (i32.const 4000))))
    (loop $for_ever
      (drop (call $path_filestat_get
        (i32.const 3) (i32.const 1) (i32.const 0) (i32.const 4000) (i32.const 0x8000)))
      (br $for_ever))))
