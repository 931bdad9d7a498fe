//! A component that carries a script out by `wasi:filesystem`.

pub mod calls;
pub(crate) mod operations;
mod types;

use std::fmt::Write as _;

use crate::interpreter::{Function, HEAP_POINTER, interpreter};
use crate::script::{Answer, Arg, Script, TEXT};

/// What scripts can call, lowered to core functions; a function's place here is its number.
/// Those that answer with more than one number take an address to store it at last.
pub(crate) const FUNCTIONS: &[Function] = &[
    function("get-directories", "i", ""),
    function("read-via-stream", "iIi", ""),
    function("write-via-stream", "iIi", ""),
    function("append-via-stream", "ii", ""),
    function("advise", "iIIii", ""),
    function("sync-data", "ii", ""),
    function("get-flags", "ii", ""),
    function("get-type", "ii", ""),
    function("set-size", "iIi", ""),
    function("set-times", "iiIiiIii", ""),
    function("read", "iIIi", ""),
    function("write", "iiiIi", ""),
    function("read-directory", "ii", ""),
    function("sync", "ii", ""),
    function("create-directory-at", "iiii", ""),
    function("stat", "ii", ""),
    function("stat-at", "iiiii", ""),
    function("set-times-at", "iiiiiIiiIii", ""),
    function("link-at", "iiiiiiii", ""),
    function("open-at", "iiiiiii", ""),
    function("readlink-at", "iiii", ""),
    function("remove-directory-at", "iiii", ""),
    function("rename-at", "iiiiiii", ""),
    function("symlink-at", "iiiiii", ""),
    function("unlink-file-at", "iiii", ""),
    function("is-same-object", "ii", "i"),
    function("metadata-hash", "ii", ""),
    function("metadata-hash-at", "iiiii", ""),
    function("read-directory-entry", "ii", ""),
    function("filesystem-error-code", "ii", ""),
    function("to-debug-string", "ii", ""),
    function("in-read", "iIi", ""),
    function("in-skip", "iIi", ""),
    function("check-write", "ii", ""),
    function("out-write", "iiii", ""),
    function("write-zeroes", "iIi", ""),
    function("flush", "ii", ""),
    function("get-stdout", "", "i"),
    function("drop-descriptor", "i", ""),
    function("drop-listing", "i", ""),
    function("drop-in", "i", ""),
    function("drop-out", "i", ""),
    function("drop-error", "i", ""),
];

const fn function(name: &'static str, params: &'static str, result: &'static str) -> Function {
    Function {
        name,
        params,
        result,
    }
}

/// The component as text.
pub(crate) fn component() -> String {
    let mut given = String::new();
    for Function { name, .. } in FUNCTIONS {
        // A String takes everything.
        let _ = write!(given, "(export {name:?} (func ${name}))");
    }
    format!(
        "(component {types}
           {LIBC}
           {lowered}
           (core module $main
             {interpreter}
             (func (export \"run\") (result i32)
               (i32.store (i32.const {HEAP_POINTER}) (i32.const {TEXT}))
               (call $get-arguments (i32.const 4096))
               (call $interpret (i32.load (i32.load (i32.const 4096))))
               (i32.const 0)))
           (core instance $main (instantiate $main
             (with \"libc\" (instance $libc))
             (with \"host\" (instance {given} (export \"get-arguments\" (func $get-arguments))))))
           (func $run (result (result)) (canon lift (core func $main \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.3\" (instance $i)))",
        types = types::IMPORTS,
        lowered = types::lowered(),
        interpreter = interpreter(MAIN_IMPORTS, "host", FUNCTIONS),
    )
}

const MAIN_IMPORTS: &str = "(import \"libc\" \"memory\" (memory 16))
    (import \"host\" \"get-arguments\" (func $get-arguments (param i32)))";

/// The memory, and the allocator that the host puts its lists with.
const LIBC: &str = "(core module $libc
    (memory (export \"memory\") 16)
    (func (export \"realloc\") (param i32 i32 i32 i32) (result i32)
      (i32.and (i32.add (i32.load (i32.const 0)) (i32.const 15)) (i32.const -16))
      (i32.store (i32.const 0) (i32.add
        (i32.and (i32.add (i32.load (i32.const 0)) (i32.const 15)) (i32.const -16))
        (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc \"memory\" (core memory $memory))
  (alias core export $libc \"realloc\" (core func $realloc))";

impl Script {
    /// Calls the function named `name`; where it stores its result, the address is added.
    pub fn preview2(&mut self, name: &str, args: &[Arg]) -> Answer {
        let answer = self.answer();
        self.preview2_into(answer, name, args);
        answer
    }

    /// As [`Script::preview2`], with its answer over that of an earlier call.
    pub fn preview2_into(&mut self, answer: Answer, name: &str, args: &[Arg]) {
        let number = crate::number(FUNCTIONS, name);
        let mut args = args.to_vec();
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let params = FUNCTIONS.get(index).map_or(0, |known| known.params.len());
        if args.len() < params {
            args.push(answer.stored().into());
        }
        assert_eq!(args.len(), params, "arguments of {name}");
        self.call(number, &args, answer);
    }

    /// Writes the answers to stdout, which is what a component's script ends with.
    pub fn end_preview2(&mut self) {
        let stdout = self.preview2("get-stdout", &[]).returned();
        for address in crate::pieces() {
            let args = [stdout, address.into(), crate::PIECE_BYTES.into()];
            self.preview2("out-write", &args);
        }
    }
}
