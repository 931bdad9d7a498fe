//! Guests, written in WebAssembly text.

pub(crate) mod files;

/// Imports, memory and two helpers that most guests share.
const PRELUDE: &str = r#"
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 20)
  (func $write (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $wait_for_stdin_to_close
    (loop $again
      (i32.store (i32.const 0) (i32.const 512))
      (i32.store (i32.const 4) (i32.const 64))
      (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $again (i32.load (i32.const 8)))))"#;

fn module(data: &str, body: &str) -> Vec<u8> {
    let text = format!(
        "(module {PRELUDE} (data (i32.const 1024) \"{data}\") (func (export \"_start\") {body}))"
    );
    wat::parse_str(text).unwrap()
}

/// Prints `line` and a newline, and exits with 0.
pub(crate) fn prints(line: &str) -> Vec<u8> {
    let length = line.len() + 1;
    module(
        &format!("{line}\\n"),
        &format!("(call $write (i32.const 1) (i32.const 1024) (i32.const {length}))"),
    )
}

/// A component that does nothing, over a memory with something in it.
pub(crate) fn component() -> Vec<u8> {
    let text = r#"(component
        (core module $m
            (memory (export "memory") 1)
            (data (i32.const 0) "something")
            (func (export "run") (result i32) (i32.ne (i32.load8_u (i32.const 0)) (i32.const 115))))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $r (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $r)))"#;
    wat::parse_str(text).unwrap()
}

/// Exits with `code`.
pub(crate) fn exits(code: i32) -> Vec<u8> {
    module("", &format!("(call $proc_exit (i32.const {code}))"))
}

/// Prints `ready`, waits until its stdin is closed, prints `bye`.
pub(crate) fn waits() -> Vec<u8> {
    module(
        "ready\\nbye\\n",
        "(call $write (i32.const 1) (i32.const 1024) (i32.const 6))
         (call $wait_for_stdin_to_close)
         (call $write (i32.const 1) (i32.const 1030) (i32.const 4))",
    )
}

/// Computes for ever, and never looks at its stdin.
pub(crate) fn spins() -> Vec<u8> {
    module("", "(loop $again (br $again))")
}

/// Writes 40 bytes as a line, 100,000 times, then waits.
pub(crate) fn floods() -> Vec<u8> {
    let line = "x".repeat(39);
    module(
        &format!("{line}\\n"),
        "(local $left i32) (local.set $left (i32.const 100000))
         (loop $again
           (call $write (i32.const 1) (i32.const 1024) (i32.const 40))
           (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
         (call $wait_for_stdin_to_close)",
    )
}

/// Writes an unfinished line to stderr, then waits.
pub(crate) fn prompts() -> Vec<u8> {
    module(
        "name?",
        "(call $write (i32.const 2) (i32.const 1024) (i32.const 5)) (call $wait_for_stdin_to_close)",
    )
}

/// Valid, small, and very slow to compile: `depth` loops inside each other, and in the innermost
/// as many locals that are all made from each other.
pub(crate) fn nests_loops(depth: usize) -> Vec<u8> {
    let locals = "i64 ".repeat(depth);
    let open = "(loop ".repeat(depth);
    let body = (0..depth).fold(String::new(), |body, local| {
        let other = local * 3 % depth;
        format!("{body}(local.set {local} (i64.add (local.get {other}) (i64.const 1)))")
    });
    let close = "(br_if 0 (i32.const 0)))".repeat(depth);
    let start = format!("(func (export \"_start\") (local {locals}) {open} {body} {close})");
    wat::parse_str(format!("(module (memory (export \"memory\") 1) {start})")).unwrap()
}

/// Imports something that no VM gets.
pub(crate) fn imports_a_system_call() -> Vec<u8> {
    wat::parse_str(
        "(module (import \"env\" \"system\" (func (param i32))) (memory (export \"memory\") 1) (func (export \"_start\")))",
    )
    .unwrap()
}
