//! Guests that work on files, written in WebAssembly text.

/// Imports, memory and helpers. Scratch below 1,024; text from 1,024 on; a path at 2,048; files
/// are read to 4,096 and written from 65,536 on.
const PRELUDE: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 20)
  (func $vector (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length)))
  (func $write (param $fd i32) (param $at i32) (param $length i32) (result i32)
    (call $vector (local.get $at) (local.get $length))
    (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
  (func $say (param $at i32) (param $length i32)
    (drop (call $write (i32.const 1) (local.get $at) (local.get $length))))
  (func $read (param $fd i32) (param $at i32) (param $length i32) (result i32)
    (call $vector (local.get $at) (local.get $length))
    (if (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))
      (then (return (i32.const 0))))
    (i32.load (i32.const 8)))
  (func $open (param $create i32) (result i32)
    (local $errno i32)
    (local.set $errno (call $path_open (i32.const 3) (i32.const 1)
      (i32.const 2048) (global.get $path) (local.get $create)
      (select (i64.const 66) (i64.const 2) (local.get $create)) (i64.const 0) (i32.const 0) (i32.const 12)))
    (if (local.get $errno) (then (call $proc_exit (local.get $errno))))
    (i32.load (i32.const 12)))
  (func $sleep_10_ms
    (i64.store (i32.const 128) (i64.const 0))
    (i32.store8 (i32.const 136) (i32.const 0))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (i64.const 10000000))
    (i64.store (i32.const 160) (i64.const 0))
    (i32.store16 (i32.const 168) (i32.const 0))
    (drop (call $poll_oneoff (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8))))
  (func $wait_for_stdin_to_close
    (loop $again (br_if $again (call $read (i32.const 0) (i32.const 512) (i32.const 64)))))"#;

fn module(path: &str, text: &str, body: &str) -> Vec<u8> {
    let length = path.len();
    let text = format!(
        "(module {PRELUDE} (global $path i32 (i32.const {length}))
           (data (i32.const 2048) \"{path}\") (data (i32.const 1024) \"{text}\")
           (func (export \"_start\") {body}))"
    );
    wat::parse_str(text).unwrap()
}

/// Prints the file at `path`, below the root, whenever its first byte is another one.
pub(crate) fn prints_when_changed(path: &str) -> Vec<u8> {
    module(
        path,
        "",
        "(local $fd i32) (local $length i32) (local $last i32)
         (loop $again
           (local.set $fd (call $open (i32.const 0)))
           (local.set $length (call $read (local.get $fd) (i32.const 4096) (i32.const 1024)))
           (drop (call $fd_close (local.get $fd)))
           (if (i32.ne (local.get $last) (i32.load8_u (i32.const 4096)))
             (then
               (local.set $last (i32.load8_u (i32.const 4096)))
               (call $say (i32.const 4096) (local.get $length))))
           (call $sleep_10_ms)
           (br $again))",
    )
}

/// Writes `mib` MiB to the file at `path`, prints `full`, waits until its stdin is closed.
pub(crate) fn fills(path: &str, mib: u32) -> Vec<u8> {
    let chunks = mib * 16;
    module(
        path,
        "full\\n",
        &format!(
            "(local $fd i32) (local $left i32) (local $errno i32)
             (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65536))
             (local.set $fd (call $open (i32.const 1)))
             (local.set $left (i32.const {chunks}))
             (loop $again
               (local.set $errno (call $write (local.get $fd) (i32.const 65536) (i32.const 65536)))
               (if (local.get $errno) (then (call $proc_exit (local.get $errno))))
               (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
             (call $say (i32.const 1024) (i32.const 5))
             (call $wait_for_stdin_to_close)"
        ),
    )
}

/// Writes 64 KiB to the file at `path` again and again until an errno comes, prints `refused`, and
/// then waits until its stdin is closed. Exits with the errno.
pub(crate) fn fills_until_refused(path: &str) -> Vec<u8> {
    module(
        path,
        "refused\\n",
        "(local $fd i32) (local $errno i32)
         (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65536))
         (local.set $fd (call $open (i32.const 1)))
         (loop $again
           (local.set $errno (call $write (local.get $fd) (i32.const 65536) (i32.const 65536)))
           (br_if $again (i32.eqz (local.get $errno))))
         (call $say (i32.const 1024) (i32.const 8))
         (call $wait_for_stdin_to_close)
         (call $proc_exit (local.get $errno))",
    )
}

/// Adds 4 KiB to the file at `path` every 10 ms; prints `refused` when there is no space (errno
/// 51), `grown` when there is again; any other error ends it with the errno.
pub(crate) fn grows(path: &str) -> Vec<u8> {
    module(
        path,
        "refused\\ngrown\\n",
        "(local $fd i32) (local $errno i32) (local $last i32)
         (local.set $fd (call $open (i32.const 1)))
         (loop $again
           (local.set $errno (call $write (local.get $fd) (i32.const 65536) (i32.const 4096)))
           (if (i32.ne (local.get $errno) (local.get $last))
             (then
               (local.set $last (local.get $errno))
               (if (i32.eqz (local.get $errno))
                 (then (call $say (i32.const 1032) (i32.const 6)))
                 (else
                   (if (i32.ne (local.get $errno) (i32.const 51))
                     (then (call $proc_exit (local.get $errno))))
                   (call $say (i32.const 1024) (i32.const 8))))))
           (call $sleep_10_ms)
           (br $again))",
    )
}
