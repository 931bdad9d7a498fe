//! Components that have the host work.

const RANDOM: &str = r#"
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (core func $bytes
    (canon lower (func $random "get-random-bytes") (memory $memory) (realloc $realloc)))"#;

const TIMERS: &str = r#"
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow 0))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p))
    (export "pollable" (type $q (eq $p)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $q))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))"#;

/// A component that has `needs`, hands on the core functions `given` with their types, and runs
/// `body` for ever. What the host gives it always lands at the same place.
fn component(needs: &str, given: &[(&str, &str)], body: &str) -> Vec<u8> {
    let exports: Vec<String> = given
        .iter()
        .map(|(name, _)| format!("(export \"{name}\" (func ${name}))"))
        .collect();
    let imports: Vec<String> = given
        .iter()
        .map(|(name, ty)| format!("(import \"host\" \"{name}\" (func ${name} {ty}))"))
        .collect();
    let (exports, imports) = (exports.concat(), imports.concat());
    let text = format!(
        "(component
           (core module $libc
             (memory (export \"memory\") 4)
             (func (export \"realloc\") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
           (core instance $libc (instantiate $libc))
           (alias core export $libc \"memory\" (core memory $memory))
           (alias core export $libc \"realloc\" (core func $realloc))
           {needs}
           (core module $main
             (import \"libc\" \"memory\" (memory 1))
             {imports}
             (func (export \"run\") (result i32) (loop $again {body} (br $again)) (i32.const 0)))
           (core instance $main (instantiate $main
             (with \"libc\" (instance $libc)) (with \"host\" (instance {exports}))))
           (func $run (result (result)) (canon lift (core func $main \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.0\" (instance $i)))"
    );
    wat::parse_str(text).unwrap()
}

/// Asks for 64 KiB of random bytes, for ever.
pub(crate) fn asks_for_random_bytes() -> Vec<u8> {
    let body = "(call $bytes (i64.const 65536) (i32.const 16))";
    component(RANDOM, &[("bytes", "(param i64 i32)")], body)
}

/// Makes a timer, waits for it and drops it, for ever.
pub(crate) fn waits_for_timers(ns: u64) -> Vec<u8> {
    let body = format!(
        "(i32.store (i32.const 0) (call $subscribe (i64.const {ns})))
         (call $block (i32.load (i32.const 0)))
         (call $drop (i32.load (i32.const 0)))"
    );
    let given = [
        ("subscribe", "(param i64) (result i32)"),
        ("block", "(param i32)"),
        ("drop", "(param i32)"),
    ];
    component(TIMERS, &given, &body)
}

/// Makes timers and keeps every one.
pub(crate) fn hoards_timers() -> Vec<u8> {
    let body = "(drop (call $subscribe (i64.const 1000000000000)))";
    component(TIMERS, &[("subscribe", "(param i64) (result i32)")], body)
}

/// As many memories, tables and instances as one VM may have, each grown as far as it gets.
pub(crate) fn is_wide() -> Vec<u8> {
    let tables = "(table 1 funcref)".repeat(8);
    let grow: Vec<String> = (0..8)
        .map(|table| format!("(drop (table.grow {table} (ref.null func) (i32.const 5000)))"))
        .collect();
    let grow = grow.concat();
    let body = format!(
        "(drop (memory.grow (i32.const 16)))
         (memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65535)))
         {grow}"
    );
    let small: Vec<String> = (0..60)
        .map(|n| format!("(core instance $small{n} (instantiate $small))"))
        .collect();
    let small = small.concat();
    let text = format!(
        "(component
           (core module $small (global (mut i64) (i64.const 0)) (func (export \"f\")))
           {small}
           (core module $one (memory (export \"memory\") 1) {tables}
             (func (export \"grow\") {body}))
           (core instance $one (instantiate $one))
           (core module $two (import \"one\" \"grow\" (func $grow)) (memory 1) {tables}
             (func (export \"run\") (result i32)
               (loop $again {body} (call $grow) (br $again)) (i32.const 0)))
           (core instance $two (instantiate $two (with \"one\" (instance $one))))
           (func $run (result (result)) (canon lift (core func $two \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.0\" (instance $i)))"
    );
    wat::parse_str(text).unwrap()
}

/// As many instances as one VM may have, each of which the host holds many passive elements of.
pub(crate) fn has_passive_elements() -> Vec<u8> {
    let functions = "$f ".repeat(40_000);
    let instances = "(core instance (instantiate $many))".repeat(63);
    let text = format!(
        "(component
           (core module $many (func $f) (elem func {functions}))
           {instances}
           (core module $main (func (export \"run\") (result i32)
             (loop $again (br $again)) (i32.const 0)))
           (core instance $main (instantiate $main))
           (func $run (result (result)) (canon lift (core func $main \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.0\" (instance $i)))"
    );
    wat::parse_str(text).unwrap()
}
