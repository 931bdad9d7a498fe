//! Proposals of WebAssembly that are not listed are refused, each by a module that needs it.

use agentvm_runtime::{ModuleError, compile};
use wasmparser::{Validator, WasmFeatures};

use crate::harness::engine;

/// A core module that needs the proposal.
const fn core(flag: WasmFeatures, fields: &'static str) -> (WasmFeatures, Shape) {
    (flag, Shape::Core(fields))
}

/// A component that needs it.
const fn component(flag: WasmFeatures, fields: &'static str) -> (WasmFeatures, Shape) {
    (flag, Shape::Component(fields))
}

#[derive(Clone, Copy)]
enum Shape {
    Core(&'static str),
    Component(&'static str),
    Bytes(&'static [u8]),
}

impl Shape {
    fn bytes(self) -> Vec<u8> {
        let text = match self {
            Self::Core(fields) => format!(
                "(module {fields} (memory (export \"memory\") 1) (func (export \"_start\")))"
            ),
            Self::Component(fields) => format!("(component {fields})"),
            Self::Bytes(bytes) => return bytes.to_vec(),
        };
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

/// Modules that need one proposal which is closed, besides others.
const CLOSED: [(WasmFeatures, Shape); 27] = [
    core(WasmFeatures::THREADS, "(memory 1 1 shared)"),
    core(
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "(global (shared mut i32) (i32.const 0))",
    ),
    core(WasmFeatures::EXCEPTIONS, "(tag)"),
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        // One function: `try catch_all end`.
        Shape::Bytes(
            b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x08\x01\x06\0\x06\x40\x19\x0b\x0b",
        ),
    ),
    core(WasmFeatures::MEMORY64, "(memory i64 1)"),
    core(
        WasmFeatures::FUNCTION_REFERENCES,
        "(type $f (func)) (func (param (ref null $f)) (call_ref $f (local.get 0)))",
    ),
    core(
        WasmFeatures::MEMORY_CONTROL,
        "(func (memory.discard (i32.const 0) (i32.const 0)))",
    ),
    core(WasmFeatures::GC, "(type (struct (field i32)))"),
    core(WasmFeatures::GC_TYPES, "(func (param externref))"),
    core(WasmFeatures::CUSTOM_PAGE_SIZES, "(memory 1 (pagesize 1))"),
    core(
        WasmFeatures::STACK_SWITCHING,
        "(type $f (func)) (type (cont $f))",
    ),
    core(
        WasmFeatures::WIDE_ARITHMETIC,
        "(func (result i64 i64) (i64.mul_wide_u (i64.const 1) (i64.const 2)))",
    ),
    core(
        WasmFeatures::CUSTOM_DESCRIPTORS,
        "(type $s (struct)) (func (param (ref (exact $s))))",
    ),
    (
        WasmFeatures::COMPACT_IMPORTS,
        // One import of a module `w` that holds one function, `f`.
        Shape::Bytes(b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0a\x01\x01w\0\x7f\x01\x01f\0\0"),
    ),
    component(
        WasmFeatures::CM_VALUES,
        "(import \"a\" (value $v string)) (export \"b\" (value $v))",
    ),
    component(
        WasmFeatures::CM_NESTED_NAMES,
        "(import \"a:b:c/d\" (func))",
    ),
    component(WasmFeatures::CM_ASYNC, "(type (stream u8))"),
    component(
        WasmFeatures::CM_ASYNC_STACKFUL,
        "(core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
         (func (export \"g\") async (canon lift (core func $i \"f\") async))",
    ),
    component(
        WasmFeatures::CM_MORE_ASYNC_BUILTINS,
        "(core func (canon subtask.cancel async))",
    ),
    component(
        WasmFeatures::CM_THREADING,
        "(core func (canon thread.index))",
    ),
    component(WasmFeatures::CM_ERROR_CONTEXT, "(type (list error-context))"),
    component(WasmFeatures::CM_FIXED_LENGTH_LISTS, "(type (list u8 4))"),
    component(
        WasmFeatures::CM_GC,
        "(import \"f\" (func $f)) (core type $t (func))
         (core func (canon lower (func $f) gc (core-type $t)))",
    ),
    component(WasmFeatures::CM_MAP, "(type (map string u32))"),
    component(WasmFeatures::CM64, "(type (resource (rep i64)))"),
    component(
        WasmFeatures::CM_IMPLEMENTS,
        "(import \"a\" (implements \"a:b/c\") (instance))",
    ),
    component(
        WasmFeatures::CM_CANON_NAMES,
        "(import \"a:b/c@1\" (version-suffix \".2.3\") (instance))",
    ),
];

/// Those that look like a mistake in a name, and are told so.
const UNNAMED: WasmFeatures = WasmFeatures::CM_NESTED_NAMES
    .union(WasmFeatures::CM_IMPLEMENTS)
    .union(WasmFeatures::CM_CANON_NAMES);

/// What is open: a module that uses it is none that is refused for it.
const OPEN: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::RELAXED_SIMD)
    .union(WasmFeatures::TAIL_CALL)
    .union(WasmFeatures::MULTI_MEMORY)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::COMPONENT_MODEL);

fn valid(bytes: &[u8], features: WasmFeatures) -> Result<(), String> {
    let validated = Validator::new_with_features(features).validate_all(bytes);
    validated.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn every_proposal_is_open_or_has_a_module_that_is_refused() {
    let undecided: Vec<_> = WasmFeatures::all()
        .iter_names()
        .filter(|(_, flag)| !OPEN.contains(*flag))
        .filter(|(_, flag)| !CLOSED.iter().any(|(closed, _)| closed == flag))
        .map(|(name, _)| name)
        .collect();
    assert!(
        undecided.is_empty(),
        "open them in runtime/src/proposals.rs, or add a module that needs them: {undecided:?}"
    );
    for (flag, _) in CLOSED {
        assert!(!OPEN.intersects(flag), "{flag:?} is open and closed");
    }
}

#[test]
fn the_modules_need_what_they_stand_for_and_are_valid_with_it() {
    let mut wrong = Vec::new();
    for (flag, shape) in CLOSED {
        let bytes = shape.bytes();
        if let Err(error) = valid(&bytes, WasmFeatures::all()) {
            wrong.push(format!("{flag:?}, with everything open: {error}"));
        }
        if valid(&bytes, WasmFeatures::all() - flag).is_ok() {
            wrong.push(format!("{flag:?} is not needed"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn d01_a_module_that_needs_a_closed_proposal_is_refused_and_told_which() {
    let mut wrong = Vec::new();
    for (flag, shape) in CLOSED {
        match compile(engine(), shape.bytes()) {
            Err(error @ ModuleError::Invalid { .. }) => {
                let message = error.to_string();
                let is_named = message.contains("it needs the WebAssembly proposal");
                if is_named == UNNAMED.contains(flag) {
                    wrong.push(format!("{flag:?}: {message}"));
                }
            }
            other => wrong.push(format!("{flag:?}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
