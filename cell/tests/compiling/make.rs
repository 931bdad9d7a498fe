//! Modules, made to measure.

/// Prints `line` and ends.
pub(crate) fn prints(line: &str) -> Vec<u8> {
    let length = line.len();
    module(&format!(
        r#"(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "{line}")
        (func (export "_start")
          (i32.store (i32.const 0) (i32.const 64))
          (i32.store (i32.const 4) (i32.const {length}))
          (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#
    ))
}

/// Fills `mib` MiB of memory, then waits until its stdin is closed.
pub(crate) fn fills(mib: u32) -> Vec<u8> {
    let (pages, bytes) = (mib * 16 + 1, mib << 20);
    module(&format!(
        r#"(import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "_start")
          (drop (memory.grow (i32.const {pages})))
          (memory.fill (i32.const 65536) (i32.const 7) (i32.const {bytes}))
          (i32.store (i32.const 0) (i32.const 64))
          (i32.store (i32.const 4) (i32.const 64))
          (loop $again
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br_if $again (i32.load (i32.const 8)))))"#
    ))
}

/// A command with this text besides.
pub(crate) fn command(text: &str) -> Vec<u8> {
    module(&format!(
        r#"(memory (export "memory") 1) (func (export "_start")) {text}"#
    ))
}

/// The module of this text.
pub(crate) fn module(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {text})")).unwrap()
}

/// The same module with other bytes at its end, which mean nothing, and so another digest.
pub(crate) fn again(mut wasm: Vec<u8>, number: u16) -> Vec<u8> {
    // A custom section of four bytes: a name of one, and the number.
    wasm.extend([0, 4, 1, b'n']);
    wasm.extend(number.to_le_bytes());
    wasm
}

/// The first bytes of every module.
pub(crate) const HEADER: [u8; 8] = *b"\0asm\x01\0\0\0";

/// A section of a module that is made by hand.
pub(crate) fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &number(content.len()), content].concat()
}

/// A name, as modules have them.
pub(crate) fn name(text: &str) -> Vec<u8> {
    [&number(text.len())[..], text.as_bytes()].concat()
}

/// A number, as modules have them: seven bits a byte, the lowest first.
pub(crate) fn number(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let seven = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            bytes.push(seven);
            return bytes;
        }
        bytes.push(seven | 0x80);
    }
}

/// The text of each number below `count`, in order.
fn each(count: usize, text: impl Fn(usize) -> String) -> String {
    (0..count).map(text).collect::<Vec<_>>().concat()
}

/// Loops inside each other, and in the innermost as many locals that are made from each other.
pub(crate) fn nests_loops(depth: usize) -> Vec<u8> {
    let locals = "i64 ".repeat(depth);
    let open = "(loop ".repeat(depth);
    let body = (0..depth).fold(String::new(), |body, local| {
        let other = local * 3 % depth;
        format!("{body}(local.set {local} (i64.add (local.get {other}) (i64.const 1)))")
    });
    let close = "(br_if 0 (i32.const 0)))".repeat(depth);
    module(&format!(
        r#"(memory (export "memory") 1) (func (export "_start") (local {locals}) {open} {body} {close})"#
    ))
}

/// Loops and blocks by turns, each with a way out of all of them.
pub(crate) fn leaves_from_everywhere(depth: usize) -> Vec<u8> {
    let locals = "i64 ".repeat(depth);
    let open = (0..depth).fold(String::new(), |open, level| {
        let kind = if level % 2 == 0 { "loop" } else { "block" };
        format!(
            "{open} {kind} local.get {level} i64.const 3 i64.mul local.set {} local.get {level} i64.eqz br_if {level}",
            (level + 1) % depth
        )
    });
    let close = "end ".repeat(depth);
    module(&format!(
        r#"(memory (export "memory") 1) (func (export "_start") (local {locals}) {open} {close})"#
    ))
}

/// Jump tables with `targets` targets each, over as many blocks.
pub(crate) fn jumps(tables: usize, targets: usize) -> Vec<u8> {
    let open = "block ".repeat(targets);
    let labels = each(targets, |label| format!("{label} "));
    let close = "end ".repeat(targets);
    let one = format!("{open} i32.const 7 br_table {labels} {close}");
    module(&format!(
        r#"(memory (export "memory") 1) (func (export "_start") {})"#,
        one.repeat(tables)
    ))
}

/// One expression over `values` locals that are all alive at once.
pub(crate) fn keeps_alive(values: usize) -> Vec<u8> {
    let locals = "i64 ".repeat(values);
    let gets = each(values, |local| format!("local.get {local} "));
    let adds = "i64.add ".repeat(values - 1);
    module(&format!(
        r#"(memory (export "memory") 1) (func (export "_start") (local {locals}) (loop {} br_if 0 (i32.const 0)))"#,
        format!("{gets} {adds} drop ").repeat(20)
    )
    .replace("br_if 0 (i32.const 0)", "i32.const 0 br_if 0"))
}

/// Functions that call each other, `count` of them.
pub(crate) fn calls(count: usize) -> Vec<u8> {
    let functions = each(count, |at| {
        let called = (at * 7 + 1) % count;
        format!(
            "(func $f{at} (param i32 i64 f64) (result i32) local.get 0 local.get 1 local.get 2 call $f{called})"
        )
    });
    command(&functions)
}
