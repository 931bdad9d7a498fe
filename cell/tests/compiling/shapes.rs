//! Bytes that are no module, or nearly one.

use agentvm_cell_api::problem::Reason;

use crate::harness::Node;
use crate::{alone, make, neighbour_runs, put};

/// Every byte of a component's header but the layer says "module".
fn component() -> Vec<u8> {
    let text = r#"(component
        (core module $m (func (export "run") (result i32) (i32.const 0)))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $r (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $r)))"#;
    wat::parse_str(text).unwrap()
}

/// `wasm` under another header.
fn under(header: [u8; 8], wasm: &[u8]) -> Vec<u8> {
    [&header[..], &wasm[8..]].concat()
}

/// Where a module's sections end.
fn ends_of_sections(wasm: &[u8]) -> Vec<usize> {
    let (mut at, mut ends) = (8, vec![8]);
    while at < wasm.len() {
        let (mut size, mut shift) = (0, 0);
        loop {
            at += 1;
            size |= usize::from(wasm[at] & 0x7f) << shift;
            shift += 7;
            if wasm[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1 + size;
        ends.push(at);
    }
    ends
}

#[tokio::test]
async fn e01_bytes_of_every_other_kind_are_invalid_and_say_what_they_are() {
    let _alone = alone().await;
    let node = Node::start().await;
    let (module, component) = (make::prints("x"), component());
    let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &module].concat();
    let table: [(&str, Vec<u8>); 19] = [
        ("empty", Vec::new()),
        ("one byte", vec![0]),
        ("cut off in its first 8 bytes", b"\0asm".to_vec()),
        ("cut off in its first 8 bytes", b"\0asm\x01\0\0".to_vec()),
        ("not a command", make::HEADER.to_vec()),
        ("not a command", b"\0asm\x0d\0\x01\0".to_vec()),
        ("ELF", b"\x7fELF\x02\x01\x01".to_vec()),
        (
            "ELF",
            std::fs::read("/proc/self/exe").unwrap()[..4096].to_vec(),
        ),
        ("gzip", gzip),
        ("zstd", b"\x28\xb5\x2f\xfd\x04\0".to_vec()),
        ("zip", b"PK\x03\x04\x14\0".to_vec()),
        ("script", b"#!/bin/sh\nexec id\n".to_vec()),
        ("text", b"(module (func (export \"_start\")))".to_vec()),
        ("text", b"\n\t (component)".to_vec()),
        ("some other format", b"<!doctype html>".to_vec()),
        ("version", under(*b"\0asm\x02\0\0\0", &module)),
        ("version", under(*b"\0asm\x0d\0\x02\0", &component)),
        ("invalid", under(*b"\0asm\x0d\0\x01\0", &module)),
        ("invalid", under(*b"\0asm\x01\0\0\0", &component)),
    ];
    for (word, wasm) in table {
        let before = node.client().info().await.unwrap().compiles.refused;
        for _ in 0..3 {
            let refused = put(&node, "hostile", wasm.clone()).await.unwrap_err();
            assert_eq!(refused.reason(), Some(Reason::InvalidModule), "{refused}");
            let said = refused.to_string();
            assert!(word == "one byte" || said.contains(word), "{word}: {said}");
        }
        let after = node.client().info().await.unwrap().compiles.refused;
        assert_eq!(after, before + 1, "{word}: no retry reaches a compiler");
    }
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e01_a_module_or_component_cut_off_anywhere_is_invalid() {
    let _alone = alone().await;
    let node = Node::start().await;
    for whole in [make::prints("heron"), component()] {
        assert!(put(&node, "hostile", whole.clone()).await.is_ok());
        let ends = ends_of_sections(&whole);
        for length in (0..whole.len()).step_by(3) {
            if ends.contains(&length) {
                // What is left may be a module of its own.
                continue;
            }
            let refused = put(&node, "hostile", whole[..length].to_vec())
                .await
                .unwrap_err();
            let reason = refused.reason();
            assert_eq!(reason, Some(Reason::InvalidModule), "{length}: {refused}");
        }
    }
    neighbour_runs(&node, "after").await;
}

#[tokio::test]
async fn e01_a_module_with_any_byte_changed_is_compiled_or_refused_for_a_reason() {
    let _alone = alone().await;
    let node = Node::start().await;
    let whole = make::prints("heron");
    let pid = node.client().info().await.unwrap().pid;
    for at in (0..whole.len()).step_by(2) {
        let mut wasm = whole.clone();
        wasm[at] ^= 1 << (at % 8);
        if let Err(refused) = put(&node, "hostile", wasm).await {
            let reason = refused.reason().unwrap();
            assert!(
                [
                    Reason::InvalidModule,
                    Reason::MissingImports,
                    Reason::CompileLimit
                ]
                .contains(&reason),
                "{at}: {refused}"
            );
        }
    }
    assert_eq!(node.client().info().await.unwrap().pid, pid);
    neighbour_runs(&node, "after").await;
}
