//! What the host parses of a guest's: however deep, long or odd it is, it takes bounded time, and
//! what is told of it is short and clean.

use std::fmt::Write as _;
use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::{ModuleError, compile, thread_cpu};

use crate::components::component;
use crate::harness::{Guest, engine, module};

/// A name that would take up a screen, forge a line, turn text around or be taken for a template.
fn odd_name(bytes: usize) -> String {
    let odd = "\\n\\1b[2J\\7f{{ .Values }}\\u{202e}\\u{feff}${HOME}";
    let mut name = odd.repeat(bytes / 30);
    name.truncate(name.rfind("\\n").unwrap_or_default());
    name
}

fn is_clean(message: &str) {
    assert!(message.len() <= 5_000, "{} bytes", message.len());
    let dirty = |c: char| c.is_control() || matches!(c, '\u{202e}' | '\u{feff}' | '\u{200b}');
    assert!(!message.contains(dirty), "{message:?}");
}

#[test]
fn e16_names_of_a_mebibyte_are_cut_and_cleaned_wherever_they_are_told() {
    let name = odd_name(1 << 17);
    let long = odd_name(3_000);
    for text in [
        format!("(module (import \"{name}\" \"{name}\" (func)))"),
        format!("(module (import \"wasi_snapshot_preview1\" \"{name}\" (func)))"),
        format!("(module (func (export \"{name}\")) (memory (export \"{long}\") 1))"),
        format!("(module (memory (export \"memory\") 1) (func (export \"{name}\")))"),
        format!(
            "(component (import \"{}\" (func)))",
            "a-".repeat(40_000) + "b"
        ),
    ] {
        let Ok(wasm) = wat::parse_str(&text) else {
            continue; // a name that not even the text format can say
        };
        let error = compile(engine(), &wasm).unwrap_err();
        is_clean(&error.to_string());
    }
}

#[tokio::test]
async fn e16_a_functions_name_is_cut_and_cleaned_where_it_traps() {
    let name = odd_name(1 << 17);
    let fields = format!("(func $inner (@name \"{name}\") unreachable)");
    let ran = Guest::with(&fields, "(call $inner)").run().await;
    assert_eq!(ran.ending.reason, EndReason::Trap);
    assert!(ran.ending.message.len() < 1_024);
    is_clean(&ran.ending.message);
}

/// Compiles or refuses, and takes no more than seconds of a processor for it.
fn is_quick(what: &str, wasm: &[u8]) -> Result<(), ModuleError> {
    let before = thread_cpu();
    let compiled = compile(engine(), wasm);
    let took = thread_cpu().saturating_sub(before);
    assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    compiled
        .map(drop)
        .inspect_err(|error| is_clean(&error.to_string()))
}

/// Components in components, as bytes: the text format's own parser would be what is tested.
fn nested_components(depth: usize) -> Vec<u8> {
    let mut inner = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..depth {
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        leb(&mut outer, inner.len());
        outer.extend_from_slice(&inner);
        inner = outer;
    }
    inner
}

/// A component type that is a list of a list of a list.
fn nested_lists(depth: usize) -> Vec<u8> {
    let mut section = Vec::new();
    leb(&mut section, depth + 1);
    section.extend_from_slice(&[0x70, 0x7d]); // list<u8>
    for index in 0..depth {
        section.push(0x70);
        leb(&mut section, index);
    }
    let mut wasm = b"\0asm\x0d\0\x01\0\x07".to_vec();
    leb(&mut wasm, section.len());
    wasm.extend_from_slice(&section);
    wasm
}

fn leb(to: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap();
        value >>= 7;
        if value == 0 {
            to.push(low);
            return;
        }
        to.push(low | 0x80);
    }
}

#[test]
fn c11_c14_what_is_nested_deep_is_refused_and_overflows_no_stack_of_the_hosts() {
    for depth in [10, 100, 1_000, 5_000] {
        let components = is_quick("components", &nested_components(depth));
        assert!(components.is_err()); // none of them is a command
        let lists = is_quick("lists", &nested_lists(depth));
        assert!(lists.is_err());
    }
    let lists = is_quick("lists", &nested_lists(90_000));
    assert!(lists.is_err());
}

#[test]
fn c11_c14_blocks_in_blocks_take_no_stack_of_the_hosts() {
    // A body of its own making: the parser of the text format has a bound of its own.
    let depth = 10_000;
    let mut body = vec![0]; // no locals
    body.extend(std::iter::repeat_n([0x02, 0x40], depth).flatten()); // block
    body.extend(std::iter::repeat_n(0x0b, depth + 1)); // end
    let mut wasm = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01".to_vec();
    wasm.extend_from_slice(b"\x07\x13\x02\x06memory\x02\0\x06_start\0\0");
    let mut code = vec![1];
    leb(&mut code, body.len());
    code.extend_from_slice(&body);
    wasm.push(0x0a);
    leb(&mut wasm, code.len());
    wasm.extend_from_slice(&code);
    is_quick("blocks", &wasm).unwrap();
}

#[test]
fn c11_many_imports_exports_and_names_are_looked_at_in_seconds() {
    let mut imports = String::from("(module ");
    for index in 0..50_000 {
        write!(imports, "(import \"m{index}\" \"f\" (func))").unwrap();
    }
    imports.push(')');
    let error = is_quick("imports", &wat::parse_str(&imports).unwrap()).unwrap_err();
    assert!(matches!(&error, ModuleError::MissingImports { names } if names.len() == 33));
    let mut exports = module("", "");
    exports.pop();
    for index in 0..50_000 {
        write!(exports, "(export \"e{index}\" (func $main))").unwrap();
    }
    exports.push(')');
    is_quick("exports", &wat::parse_str(&exports).unwrap()).unwrap();
}

#[tokio::test]
async fn c11_a_path_of_a_mebibyte_costs_no_more_than_it_is_looked_at() {
    for (length, errno) in [(4_096, 44), (4_097, 37), (1 << 20, 37), (u32::MAX, 21)] {
        let body = format!(
            "(memory.fill (i32.const 0) (i32.const 97) (i32.const 1048576))
             (call $proc_exit (call $path_unlink_file
                (i32.const 3) (i32.const 0) (i32.const {})))",
            length.cast_signed()
        );
        let guest = Guest::with("(memory (export \"memory\") 16)", &body)
            .filesystem(&crate::files::script::work());
        let ran = guest.run().await;
        // A name of 4,096 bytes is too long as a name, whatever the path may be.
        let expected = if errno == 44 { 37 } else { errno };
        assert_eq!(ran.ending.exit_code, Some(expected), "{length}");
        assert!(ran.usage.cpu < Duration::from_millis(200));
    }
}

#[tokio::test]
async fn c14_components_and_modules_that_recurse_trap_alone() {
    let down = "(func $down (param i64) (call $down (local.get 0)))";
    let text = component("", &[], "(call $down (i64.const 1)) (i32.const 0)").replace(
        "(func (export \"run\")",
        &format!("{down} (func (export \"run\")"),
    );
    let through_a_table = Guest::with(
        "(type $v (func)) (table 1 funcref) (elem (i32.const 0) func $f)
         (func $f (call_indirect (type $v) (i32.const 0)))",
        "(call $f)",
    );
    for guest in [Guest::wat(&text), through_a_table] {
        let ran = guest.run().await;
        assert_eq!(ran.ending.reason, EndReason::Trap);
        assert!(
            ran.ending.message.contains("call stack exhausted"),
            "{}",
            ran.ending.message
        );
    }
    assert_eq!(Guest::body("").exit_code().await, 0);
}
