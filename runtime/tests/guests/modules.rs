//! Bytes that are no program, or want what is not there, are refused and never crash.

use agentvm_policy::EndReason;
use agentvm_runtime::{Compiled, Engine, EngineSettings, Kind, LoadError, ModuleError, compile};

use crate::harness::{Guest, engine, load, load_on, module, say};

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
    let code = compile(engine(), wat::parse_str(module("", "")).unwrap())
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
        (import \"wasi:http/incoming-handler@0.2.3\" (instance))
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
            "wasi:http/incoming-handler@0.2.3"
        ]
    );
}

#[test]
fn d03_more_or_larger_memories_and_tables_than_a_slot_has_are_refused() {
    let start = "(memory (export \"memory\") 1) (func (export \"_start\"))";
    let tables = "(table 1 funcref)".repeat(17);
    for fields in [
        "(memory 20000)",
        "(table 70000 funcref)",
        "(memory 1) (memory 1)",
        &tables,
    ] {
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

#[test]
fn e05_a_function_that_a_linked_interface_does_not_have_is_refused_at_the_latest_when_linking() {
    let text = "(component
        (import \"wasi:cli/exit@0.2.3\" (instance (export \"explode\" (func))))
        (core module $m (func (export \"run\") (result i32) (i32.const 0)))
        (core instance $m (instantiate $m))
        (func $run (result (result)) (canon lift (core func $m \"run\")))
        (instance $i (export \"run\" (func $run)))
        (export \"wasi:cli/run@0.2.3\" (instance $i)))";
    let compiled = compile(engine(), wat::parse_str(text).unwrap()).unwrap();
    let error = load_on(engine(), &compiled).unwrap_err();
    assert!(
        matches!(&error, LoadError::Link { reason } if reason.contains("explode")),
        "{error}"
    );
}

#[test]
fn e04_code_of_another_kind_and_what_is_no_code_is_not_loaded() {
    let good = compile(engine(), wat::parse_str(module("", "")).unwrap()).unwrap();
    let kind = good.kind;
    let error = load_on(
        engine(),
        &Compiled {
            kind: Kind::Component,
            ..good
        },
    )
    .unwrap_err();
    assert!(matches!(error, LoadError::Code { .. }), "{error}");
    for code in [Vec::new(), b"no code".to_vec(), vec![0x7f; 10_000]] {
        let error = load_on(engine(), &Compiled { kind, code }).unwrap_err();
        assert!(matches!(error, LoadError::Code { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_vm_that_finds_no_slot_ends_by_the_hosts_fault() {
    let small = Engine::new(&EngineSettings { slots: 1 }).unwrap();
    let wasm = wat::parse_str(module("", "(loop $again (br $again))")).unwrap();
    let program = load_on(&small, &compile(&small, &wasm).unwrap()).unwrap();
    let first = Guest::of(program.clone()).start();
    first.handle.started().await;
    let second = Guest::of(program).run().await;
    assert_eq!(
        second.ending.reason,
        EndReason::HostError,
        "{}",
        second.ending.message
    );
    assert!(
        second.ending.message.contains("room"),
        "{}",
        second.ending.message
    );
    first
        .handle
        .stop(EndReason::Stopped, std::time::Duration::ZERO);
    assert_eq!(first.end().await.ending.reason, EndReason::Stopped);
}

/// A component with one instance that has a memory, and `fields` besides: `$m` has a memory, `$e`
/// has nothing.
pub(crate) fn of_instances(fields: &str) -> String {
    format!(
        "(component
           (core module $m (memory 1) (func (export \"run\") (result i32) (i32.const 0)))
           (core module $e)
           (core instance $m (instantiate $m)) {fields}
           (func $run (result (result)) (canon lift (core func $m \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.3\" (instance $i)))"
    )
}

#[test]
fn d03_a_component_with_more_instances_or_memories_than_a_slot_has_is_refused() {
    let of = |module: &str, count| format!("(core instance (instantiate {module}))").repeat(count);
    for (fields, fits) in [
        (of("$e", 63), true),
        (of("$e", 64), false),
        (of("$m", 1), true),
        (of("$m", 2), false),
    ] {
        let wasm = wat::parse_str(of_instances(&fields)).unwrap();
        let loaded = load_on(engine(), &compile(engine(), &wasm).unwrap());
        match loaded {
            Ok(_) => assert!(fits, "{fields}"),
            Err(error) => {
                assert!(
                    !fits && matches!(error, LoadError::Link { .. }),
                    "{fields}: {error}"
                );
            }
        }
    }
}
