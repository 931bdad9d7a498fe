//! Texts of core modules that make requests.

use std::fmt::Write as _;

use crate::harness::{Guest, load, module};

/// Where the texts of a request lie, and where buffers do.
const TEXTS: u32 = 8 << 10;
/// Where the number of the descriptor is written.
pub(super) const FD: u32 = 64;
/// A list of one buffer, which is [`BUFFER`], of [`BUFFER_BYTES`].
pub(super) const LIST: u32 = 128;
pub(super) const BUFFER: u32 = 16 << 10;
pub(super) const BUFFER_BYTES: u32 = 32 << 10;
/// Where calls write how many bytes they have moved.
pub(super) const DONE: u32 = 72;

const IMPORTS: [(&str, usize); 5] = [
    ("failure", 4),
    ("finish", 1),
    ("head", 4),
    ("open", 8),
    ("trailers", 4),
];

/// A guest of one page whose `_start` has `body`, after everything that exchanges need.
pub(super) fn guest(body: &str) -> Guest {
    Guest::of(load(&text(body)).unwrap()).limits(|limits| {
        limits.connections = 8;
        limits.memory_bytes = 4 << 20;
    })
}

fn text(body: &str) -> String {
    let mut imports = String::new();
    for (name, params) in IMPORTS {
        let params = " i32".repeat(params);
        write!(
            imports,
            "(import \"agentvm:http/requests@0.1.0\" \"{name}\"
                (func ${name} (param{params}) (result i32)))"
        )
        .unwrap();
    }
    let helpers = format!(
        "(func $fd (result i32) (i32.load (i32.const {FD})))
         (func $done (result i32) (i32.load (i32.const {DONE})))
         (func $list (param $len i32)
           (i32.store (i32.const {LIST}) (i32.const {BUFFER}))
           (i32.store offset=4 (i32.const {LIST}) (local.get $len)))
         ;; Reads once, and says what it was.
         (func $read (param $fd i32) (result i32)
           (call $list (i32.const {BUFFER_BYTES}))
           (call $fd_read (local.get $fd) (i32.const {LIST}) (i32.const 1) (i32.const {DONE})))
         (func $write (param $fd i32) (param $len i32) (result i32)
           (call $list (local.get $len))
           (call $fd_write (local.get $fd) (i32.const {LIST}) (i32.const 1) (i32.const {DONE})))
         (func $print (param $len i32)
           (call $list (local.get $len))
           (drop (call $fd_write (i32.const 1) (i32.const {LIST}) (i32.const 1) (i32.const 76))))
         ;; Prints all of the answer's body.
         (func $drain (param $fd i32) (result i32)
           (local $errno i32)
           (loop $next
             (if (local.tee $errno (call $read (local.get $fd)))
               (then (return (local.get $errno))))
             (if (call $done) (then (call $print (call $done)) (br $next))))
           (i32.const 0))
         (func $is (param $got i32) (param $wanted i32)
           (if (i32.ne (local.get $got) (local.get $wanted))
             (then (call $proc_exit (i32.add (i32.const 100) (local.get $got))))))"
    );
    let whole = module(&helpers, body);
    whole.replacen("(module", &format!("(module{imports}"), 1)
}

/// Opens an exchange; the result is the error number.
pub(super) fn open(method: &str, url: &str, headers: &str, flags: u32) -> String {
    let mut code = String::new();
    let mut at = TEXTS;
    let mut arguments = String::new();
    for text in [method, url, headers] {
        for (word, index) in text.as_bytes().chunks(8).zip(0_u32..) {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(word) {
                *to = *from;
            }
            write!(
                code,
                "(i64.store (i32.const {}) (i64.const {}))",
                at + 8 * index,
                u64::from_le_bytes(bytes)
            )
            .unwrap();
        }
        write!(arguments, "(i32.const {at}) (i32.const {})", text.len()).unwrap();
        at += u32::try_from(text.len()).unwrap().next_multiple_of(8);
    }
    assert!(at <= BUFFER, "the texts are too long");
    format!("{code}(call $open {arguments} (i32.const {flags}) (i32.const {FD}))")
}

/// Goes on where the result of `call` is `expected`, and exits else.
pub(super) fn is(call: &str, expected: i32) -> String {
    format!("(call $is {call} (i32.const {expected}))")
}

/// Opens what has to be opened.
pub(super) fn opened(method: &str, path: &str, flags: u32) -> String {
    let url = format!("http://api.example{path}");
    call(&open(method, &url, "accept: */*\n", flags), 0)
}

/// Statements that end with a result, held to `expected`.
pub(super) fn call(code: &str, expected: i32) -> String {
    let call = code.rfind("(call $open").unwrap();
    let (before, call) = code.split_at(call);
    format!("{before}{}", is(call, expected))
}

/// Prints status and headers.
pub(super) const HEAD: &str = "
    (call $is (call $head (call $fd) (i32.const 16384) (i32.const 32768) (i32.const 72)) (i32.const 0))
    (call $print (call $done))";
