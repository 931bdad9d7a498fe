//! A rewritten module does what the module does, in plain wasmtime: same memory, same traps.

use std::fmt::Write as _;
use std::sync::OnceLock;

use proptest::prelude::*;
use wasmtime::{Engine, Instance, Module, Store, Trap};

use super::cut;

const PAGE: u32 = 65_536;
/// The pieces of these tests, and the bytes of a segment that is cut.
const PIECE: u32 = 100;
const SEGMENT: u32 = 1_030;

/// Two memories, a segment that is cut and one that is not, and each instruction on each of them.
fn text() -> String {
    let mut functions = String::new();
    let mut add = |name: &str, instruction: &str| {
        write!(
            functions,
            "(func (export \"{name}\") (param i32 i32 i32) (local i64)
               ({instruction} (local.get 0) (local.get 1) (local.get 2)))"
        )
        .unwrap();
    };
    for (to, other) in [("a", "b"), ("b", "a")] {
        add(&format!("fill {to}"), &format!("memory.fill ${to}"));
        for from in [to, other] {
            let name = format!("copy {to} {from}");
            add(&name, &format!("memory.copy ${to} ${from}"));
        }
        for segment in ["long", "short", "written"] {
            let name = format!("init {to} {segment}");
            add(&name, &format!("memory.init ${to} ${segment}"));
        }
    }
    let long: String = (0..SEGMENT)
        .map(|at| char::from(b'a' + u8::try_from(at % 26).unwrap()))
        .collect();
    format!(
        "(module $module
           (memory $a (export \"a\") 2) (memory $b (export \"b\") 1)
           (data $long \"{long}\") (data $short \"short\")
           (data $written (memory $a) (i32.const 7) \"{long}\")
           (func (export \"drop\") (param i32 i32 i32) (data.drop $long))
           {functions})"
    )
}

const CALLS: [&str; 13] = [
    "fill a",
    "fill b",
    "copy a a",
    "copy a b",
    "copy b b",
    "copy b a",
    "init a long",
    "init b long",
    "init a short",
    "init b short",
    "init a written",
    "init b written",
    "drop",
];

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(Engine::default)
}

/// The module as it is, and rewritten.
fn both() -> &'static [Module; 2] {
    static BOTH: OnceLock<[Module; 2]> = OnceLock::new();
    BOTH.get_or_init(|| {
        let wasm = wat::parse_str(text()).unwrap();
        let pieces = cut(&wasm, PIECE).unwrap().unwrap();
        [wasm, pieces].map(|wasm| Module::new(engine(), wasm).unwrap())
    })
}

/// Bytes of which no two stretches are alike.
fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let bytes = (0..2 * PAGE).map(|at| at.wrapping_mul(0x9e37_79b1).to_be_bytes()[0]);
        bytes.collect()
    })
}

struct Run {
    store: Store<()>,
    instance: Instance,
}

impl Run {
    fn new(module: &Module) -> Self {
        let mut store = Store::new(engine(), ());
        let instance = Instance::new(&mut store, module, &[]).unwrap();
        let mut run = Self { store, instance };
        for (memory, bytes) in [("a", 2 * PAGE), ("b", PAGE)] {
            let memory = run.instance.get_memory(&mut run.store, memory).unwrap();
            let bytes = &pattern()[..usize::try_from(bytes).unwrap()];
            memory.write(&mut run.store, 0, bytes).unwrap();
        }
        run
    }

    /// The trap that a call ends with, and the function it names first.
    fn call(&mut self, name: &str, arguments: (u32, u32, u32)) -> Option<(Trap, Option<String>)> {
        let function = self
            .instance
            .get_typed_func::<(u32, u32, u32), ()>(&mut self.store, name)
            .unwrap();
        let error = function.call(&mut self.store, arguments).err()?;
        let frames = error.downcast_ref::<wasmtime::WasmBacktrace>().unwrap();
        let first = frames.frames()[0].func_name().map(ToOwned::to_owned);
        Some((*error.downcast_ref().unwrap(), first))
    }

    fn bytes(&mut self, memory: &str) -> &[u8] {
        let memory = self.instance.get_memory(&mut self.store, memory).unwrap();
        memory.data(&self.store)
    }
}

fn compare(calls: &[(&str, (u32, u32, u32))]) {
    let [mut plain, mut pieces] = both().each_ref().map(Run::new);
    for (name, arguments) in calls {
        let expected = plain.call(name, *arguments).map(|(trap, _)| trap);
        let found = pieces.call(name, *arguments).map(|(trap, _)| trap);
        assert_eq!(expected, found, "{name} {arguments:?} in {calls:?}");
        for memory in ["a", "b"] {
            // Not by `assert_eq`: nobody can read two memories.
            let same = plain.bytes(memory) == pieces.bytes(memory);
            assert!(same, "{memory} after {name} {arguments:?} in {calls:?}");
        }
    }
}

#[test]
fn at_every_edge_a_rewritten_module_does_the_same() {
    let edges = |of: u32| [0, 1, of - 1, of, of + 1, u32::MAX - of, u32::MAX];
    let lengths = [PIECE, 3 * PIECE, SEGMENT].map(edges).concat();
    for name in CALLS {
        for to in [
            0,
            1,
            PIECE,
            PAGE - 3 * PIECE,
            PAGE,
            2 * PAGE - SEGMENT,
            u32::MAX - PIECE,
        ] {
            for from in [0, 1, PIECE + 1, 4 * PIECE, PAGE - PIECE, 2 * PAGE] {
                let calls: Vec<_> = lengths
                    .iter()
                    .map(|length| (name, (to, from, *length)))
                    .collect();
                compare(&calls);
            }
        }
    }
}

/// Numbers at which something changes, and any others.
fn number() -> impl Strategy<Value = u32> {
    let near = |of: u32| (of.saturating_sub(3)..=of.saturating_add(3)).boxed();
    let edges = [0, PIECE, 2 * PIECE, SEGMENT, PAGE, 2 * PAGE, u32::MAX].map(near);
    prop_oneof![
        3 => proptest::strategy::Union::new(edges),
        3 => 0..4 * PIECE,
        1 => 0..2 * PAGE,
        1 => any::<u32>(),
    ]
}

proptest! {
    #[test]
    fn whatever_is_called_a_rewritten_module_does_the_same(
        calls in prop::collection::vec(
            (prop::sample::select(&CALLS[..]), (number(), number(), number())),
            1..12,
        )
    ) {
        compare(&calls);
    }
}

#[test]
fn what_is_out_of_bounds_traps_where_it_stands_and_writes_nothing() {
    let text = "(module (memory 1) (data $d \"0123456789\")
        (func $fills (export \"fill\") (param i32 i32 i32)
          (memory.fill (local.get 0) (local.get 1) (local.get 2)))
        (func $copies (export \"copy\") (param i32 i32 i32)
          (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func $inits (export \"init\") (param i32 i32 i32)
          (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
        (export \"memory\" (memory 0)))";
    let pieces = cut(&wat::parse_str(text).unwrap(), 4).unwrap().unwrap();
    let module = Module::new(engine(), pieces).unwrap();
    for (call, arguments, function) in [
        ("fill", (1, 7, 65_536), "fills"),
        ("copy", (0, 1, 65_536), "copies"),
        ("copy", (1, 0, 65_536), "copies"),
        ("init", (65_530, 0, 10), "inits"),
        ("init", (0, 1, 10), "inits"),
    ] {
        let mut store = Store::new(engine(), ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let mut run = Run { store, instance };
        let trapped = run.call(call, arguments);
        let expected = (Trap::MemoryOutOfBounds, Some(function.to_owned()));
        assert_eq!(trapped, Some(expected), "{call} {arguments:?}");
        assert!(run.bytes("memory").iter().all(|byte| *byte == 0));
    }
}

/// Whether a function with `code` is rewritten for pieces of a MiB.
fn is_cut(fields: &str, code: &str) -> bool {
    let text = format!("(module (memory 1) {fields} (func (param i32) {code}))");
    let wasm = wat::parse_str(text).unwrap();
    let pieces = cut(&wasm, 1 << 20).unwrap();
    if let Some(pieces) = &pieces {
        Module::new(engine(), pieces).unwrap();
    }
    pieces.is_some()
}

#[test]
fn only_what_may_be_longer_than_a_piece_is_rewritten() {
    let long = format!("(data $d \"{}\")", "x".repeat((1 << 20) + 1));
    for (fields, code, expected) in [
        ("", "", false),
        ("", "(drop (i32.trunc_sat_f32_s (f32.const 1)))", false),
        (
            "",
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const 1048576))",
            false,
        ),
        (
            "",
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const 1048577))",
            true,
        ),
        (
            "",
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const -1))",
            true,
        ),
        (
            "",
            "(memory.fill (i32.const 0) (i32.const 0) (local.get 0))",
            true,
        ),
        (
            "",
            "(memory.copy (i32.const 0) (i32.const 0) (i32.const 7))",
            false,
        ),
        (
            "",
            "(memory.copy (i32.const 0) (i32.const 0) (local.get 0))",
            true,
        ),
        ("", "(unreachable) (memory.fill)", true),
        (
            "(data $d \"short\")",
            "(memory.init $d (i32.const 0) (i32.const 0) (local.get 0))",
            false,
        ),
        (
            &long,
            "(memory.init $d (i32.const 0) (i32.const 0) (local.get 0))",
            true,
        ),
        (
            "(table 1 funcref)",
            "(table.fill (i32.const 0) (ref.null func) (local.get 0))",
            false,
        ),
    ] {
        assert_eq!(is_cut(fields, code), expected, "{code}");
    }
}

#[test]
fn a_function_without_room_for_another_local_is_rewritten_as_well() {
    for locals in [49_998, 49_999] {
        let locals = "i32 ".repeat(locals);
        let code =
            format!("(local {locals}) (memory.fill (i32.const 0) (i32.const 7) (local.get 0))");
        assert!(is_cut("", &code));
    }
}

#[test]
fn everything_else_of_a_module_stays_as_it_is() {
    let text = "(module $named
        (type $t (func (param i64) (result i64)))
        (import \"m\" \"f\" (func $f (type $t)))
        (memory 1) (global $g (mut i32) (i32.const 3)) (table 4 funcref)
        (elem (i32.const 0) func $f $g)
        (func $g (param $x i32) (local $y i64) (memory.fill (i32.const 0) (i32.const 1) (local.get $x)))
        (func $h (param i32) (result i32) (block (result i32) (br_if 0 (i32.const 2) (local.get 0))))
        (export \"g\" (func $g)) (start $s) (func $s)
        (@custom \"producers\" \"\\00\") (@custom \"mine\" (after data) \"any bytes\"))";
    let wasm = wat::parse_str(text).unwrap();
    let pieces = cut(&wasm, PIECE).unwrap().unwrap();
    let [before, after] = [&wasm, &pieces].map(|wasm| Module::new(engine(), wasm).unwrap());
    assert_eq!(after.name(), Some("named"));
    let exports = |module: &Module| -> Vec<String> {
        module
            .exports()
            .map(|export| {
                format!(
                    "{:?} {:?}",
                    export.name(),
                    export.ty().func().map(ToString::to_string)
                )
            })
            .collect()
    };
    assert_eq!(exports(&before), exports(&after));
    let kept = pieces.windows(9).any(|window| window == b"any bytes");
    assert!(kept, "a custom section is lost");
    assert!(cut(&pieces, PIECE).unwrap().is_some(), "can be read again");
}

#[test]
fn modules_in_components_are_rewritten_at_any_depth() {
    let module = "(core module (memory 1) (func (param i32)
        (memory.fill (i32.const 0) (i32.const 0) (local.get 0))))";
    let component =
        |inside: &str| format!("(component (core module (func)) {inside} (type (list u8)))");
    for (text, expected) in [
        (component(""), false),
        (component(module), true),
        (component(&component(&component(module))), true),
    ] {
        let wasm = wat::parse_str(&text).unwrap();
        let pieces = cut(&wasm, PIECE).unwrap();
        assert_eq!(pieces.is_some(), expected, "{text}");
        if let Some(pieces) = pieces {
            wasmparser::validate(&pieces).unwrap();
            let grown = pieces.len() - wasm.len();
            assert!((50..400).contains(&grown), "{grown}");
        }
    }
}

#[test]
fn what_is_no_module_is_an_error_and_never_a_panic() {
    let wasm = wat::parse_str(text()).unwrap();
    for end in 0..wasm.len() {
        let _ = cut(&wasm[..end], PIECE);
    }
    for at in 0..wasm.len() {
        let mut bytes = wasm.clone();
        bytes[at] ^= 0xff;
        let _ = cut(&bytes, PIECE);
    }
}
