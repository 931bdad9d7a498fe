//! Bytes that are no program, or want what is not there, are refused and never crash.

use agentvm_runtime::{EngineSettings, ModuleError, compile};

use crate::harness::{engine, load, module, say};

fn refused(bytes: &[u8]) -> ModuleError {
    compile(engine(), bytes).expect_err("it was accepted")
}

#[test]
fn e01_what_is_no_module_is_named() {
    for (bytes, part) in [
        (&b""[..], "empty"),
        (b"\0asm", "cut off"),
        (b"\x7fELF\x02\x01\x01", "ELF"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"(module)", "text"),
        (b"#!/bin/sh\n", "script"),
        (b"\0asm\x01\0\0\0\xff\xff", "invalid at byte"),
    ] {
        let message = refused(bytes).to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn e01_a_module_cut_at_any_byte_is_refused() {
    let whole = wat::parse_str(module("", &say("hello"))).unwrap();
    let accepted = (0..whole.len()).filter(|end| compile(engine(), &whole[..*end]).is_ok());
    // Its last section holds nothing but names: without it the module is whole as well.
    assert_eq!(accepted.count(), 1);
}

#[test]
fn e01_no_flipped_byte_makes_it_panic() {
    let whole = wat::parse_str(module("(data \"x\")", "unreachable")).unwrap();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64; // a fixed seed: the same flips in every run
    for _ in 0..500 {
        let mut bytes = whole.clone();
        for _ in 0..3 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let [place, .., value] = state.to_be_bytes();
            let place = usize::from(place) * bytes.len() / 256;
            bytes[place] ^= value;
        }
        let _ = compile(engine(), &bytes);
    }
}

#[test]
fn e01_already_compiled_code_is_no_module() {
    let code = compile(engine(), &wat::parse_str(module("", "")).unwrap())
        .unwrap()
        .code;
    assert!(matches!(refused(&code), ModuleError::NotWasm { .. }));
}

#[test]
fn e01_a_module_above_the_size_limit_is_not_even_looked_at() {
    let bytes = vec![0; agentvm_runtime::MAX_MODULE_BYTES + 1];
    assert!(matches!(refused(&bytes), ModuleError::TooLarge { .. }));
}

#[test]
fn a_module_needs_an_entry_point_and_its_memory() {
    for (text, part) in [
        ("(module)", "_start"),
        (
            "(module (func (export \"_start\") (param i32)) (memory (export \"memory\") 1))",
            "_start",
        ),
        (
            "(module (global (export \"_start\") i32 (i32.const 0)))",
            "not a function",
        ),
        ("(module (func (export \"_start\")))", "memory"),
        ("(component)", "wasi:cli/run"),
    ] {
        let error = refused(&wat::parse_str(text).unwrap());
        assert!(
            matches!(error, ModuleError::NoEntryPoint { .. }),
            "{text}: {error}"
        );
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn e05_all_that_is_imported_and_not_linked_is_listed() {
    let text = "(module
        (import \"env\" \"system\" (func (param i32) (result i32)))
        (import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) (result i32)))
        (import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i64)))
        (import \"wasi_snapshot_preview1\" \"path_execute\" (func))
        (import \"env\" \"memory\" (memory 1))
        (import \"bad\\0aname\" \"x\" (func)))";
    let error = refused(&wat::parse_str(text).unwrap());
    let ModuleError::MissingImports { names } = error else {
        panic!("{error}")
    };
    assert_eq!(
        names,
        [
            "bad?name.x",
            "env.memory",
            "env.system",
            "wasi_snapshot_preview1.path_execute",
            "wasi_snapshot_preview1.proc_exit",
        ]
    );
}

#[test]
fn e05_a_components_unknown_interfaces_are_listed() {
    let text = "(component
        (import \"wasi:cli/environment@0.2.3\" (instance))
        (import \"wasi:http/outgoing-handler@0.2.3\" (instance))
        (import \"wasi:cli/environment@0.3.0\" (instance))
        (import \"host-run\" (func)))";
    let error = refused(&wat::parse_str(text).unwrap());
    let ModuleError::MissingImports { names } = error else {
        panic!("{error}")
    };
    assert_eq!(
        names,
        [
            "host-run",
            "wasi:cli/environment@0.3.0",
            "wasi:http/outgoing-handler@0.2.3"
        ]
    );
}

#[test]
fn d01_closed_proposals_are_refused_before_compilation() {
    for text in [
        "(module (memory (export \"memory\") i64 1) (func (export \"_start\")))",
        "(module (memory (export \"memory\") 1 1 shared) (func (export \"_start\")))",
        "(module (tag) (memory (export \"memory\") 1) (func (export \"_start\")))",
        "(module (type (struct)) (memory (export \"memory\") 1) (func (export \"_start\")))",
    ] {
        let error = refused(&wat::parse_str(text).unwrap());
        assert!(
            matches!(error, ModuleError::Invalid { .. }),
            "{text}: {error}"
        );
    }
}

#[test]
fn d03_more_memories_or_larger_tables_than_a_slot_has_are_refused() {
    let start = "(memory (export \"memory\") 1) (func (export \"_start\"))";
    for fields in ["(memory 20000)", "(table 70000 funcref)"] {
        let error = load(&format!("(module {start} {fields})")).unwrap_err();
        assert!(
            matches!(error, ModuleError::Oversized { .. }),
            "{fields}: {error}"
        );
    }
}

#[test]
fn an_engine_without_slots_compiles() {
    let engine = agentvm_runtime::Engine::new(&EngineSettings { slots: 0 }).unwrap();
    let wasm = wat::parse_str(module("", "")).unwrap();
    assert!(!compile(&engine, &wasm).unwrap().code.is_empty());
}
