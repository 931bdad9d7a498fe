//! The guests, written in WebAssembly text: attacks, and one that does honest work.

pub(crate) mod calls;
pub(crate) mod component;
pub(crate) mod files;
pub(crate) mod memory;

/// What a guest of preview1 can ask for. A vector is at 0, an answer at 8, a descriptor at 12;
/// subscriptions are at 128 and events at 512; a path is at 2,048.
const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_filestat_set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $path_create_directory (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $path_rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $path_symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $path_unlink_file (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
"#;

/// What most of them need besides.
const HELPERS: &str = r"
  (func $vector (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length)))
  (func $print (param $at i32) (param $length i32)
    (call $vector (local.get $at) (local.get $length))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  ;; A timer on the monotonic clock as subscription number $n.
  (func $timer (param $n i32) (param $ns i64) (param $flags i32)
    (local $at i32)
    (local.set $at (i32.add (i32.const 128) (i32.mul (local.get $n) (i32.const 48))))
    (i64.store (local.get $at) (i64.const 0))
    (i64.store offset=8 (local.get $at) (i64.const 0))
    (i64.store offset=16 (local.get $at) (i64.const 1))
    (i64.store offset=24 (local.get $at) (local.get $ns))
    (i64.store offset=32 (local.get $at) (i64.const 0))
    (i64.store offset=40 (local.get $at) (i64.extend_i32_u (local.get $flags))))
  ;; Four letters at $at that tell $n.
  (func $name (param $at i32) (param $n i32)
    (local $left i32)
    (local.set $left (i32.const 4))
    (loop $again
      (i32.store8 (local.get $at) (i32.add (i32.const 65) (i32.rem_u (local.get $n) (i32.const 26))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 26)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))))
";

/// A module with `pages` of memory, further `definitions`, and `body` as its start.
fn module(pages: u32, definitions: &str, body: &str) -> Vec<u8> {
    let text = format!(
        "(module {IMPORTS} (memory (export \"memory\") {pages}) {HELPERS} {definitions}
           (func (export \"_start\") {body}))"
    );
    wat::parse_str(text).unwrap()
}

/// `body` for ever.
fn again(body: &str) -> String {
    format!("(loop $again {body} (br $again))")
}

/// Computes for ever.
pub(crate) fn spins() -> Vec<u8> {
    module(1, "", "(loop $spin (br $spin))")
}

/// Computes Fibonacci numbers for ever, by recursion.
pub(crate) fn recurses() -> Vec<u8> {
    let fibonacci = "(func $fib (param $n i32) (result i32)
        (if (result i32) (i32.lt_u (local.get $n) (i32.const 2)) (then (local.get $n))
          (else (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
                         (call $fib (i32.sub (local.get $n) (i32.const 2)))))))";
    module(1, fibonacci, &again("(drop (call $fib (i32.const 30)))"))
}

/// Uses up its stack.
pub(crate) fn overflows() -> Vec<u8> {
    let endless = "(func $f (param i64 i64 i64)
        (call $f (local.get 0) (local.get 1) (local.get 2)))";
    let body = "(call $f (i64.const 1) (i64.const 2) (i64.const 3))";
    module(1, endless, body)
}

/// Never comes to its `_start`.
pub(crate) fn never_starts() -> Vec<u8> {
    module(1, "(func $s (loop $spin (br $spin))) (start $s)", "")
}

/// Prints `hello`.
pub(crate) fn hello() -> Vec<u8> {
    module(
        1,
        "(data (i32.const 1024) \"hello\\n\")",
        "(call $print (i32.const 1024) (i32.const 6))",
    )
}

/// Does the same work every `period_us`, for ever, and prints for each item its number and how
/// many microseconds after its time it was done, in 8 digits each. What was missed is caught up.
pub(crate) fn works(period_us: u32, rounds: u32) -> Vec<u8> {
    let digits = "(func $digits (param $at i32) (param $n i64)
        (local $left i32)
        (local.set $left (i32.const 8))
        (loop $again
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (i32.store8 (i32.add (local.get $at) (local.get $left))
            (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10)))))
          (local.set $n (i64.div_u (local.get $n) (i64.const 10)))
          (br_if $again (local.get $left))))
      (func $now (result i64)
        (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 16)))
        (i64.load (i32.const 16)))
      (data (i32.const 1024) \"00000000 00000000\\n\")";
    let body = format!(
        "(local $due i64) (local $number i64) (local $left i32) (local $sum i64)
         (local.set $due (call $now))
         (loop $item
           (local.set $due (i64.add (local.get $due) (i64.const {period_us}000)))
           (call $timer (i32.const 0) (local.get $due) (i32.const 1))
           (drop (call $poll_oneoff (i32.const 128) (i32.const 512) (i32.const 1) (i32.const 8)))
           (local.set $left (i32.const {rounds}))
           (loop $work
             (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31))
                                      (i64.extend_i32_u (local.get $left))))
             (br_if $work (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
           (i64.store (i32.const 24) (local.get $sum))
           (call $digits (i32.const 1024) (local.get $number))
           (call $digits (i32.const 1033)
             (i64.div_u (i64.sub (call $now) (local.get $due)) (i64.const 1000)))
           (call $print (i32.const 1024) (i32.const 18))
           (local.set $number (i64.add (local.get $number) (i64.const 1)))
           (br $item))"
    );
    module(1, digits, &body)
}
