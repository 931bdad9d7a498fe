//! The guest that carries a script out, written as text for each of the two interfaces.

use std::fmt::Write as _;

use crate::script::{ANSWERS, HEAP, SCRIPT};

/// A function that a script can call, as the core module imports it: one letter for each
/// parameter and the result, `i` is 32 bits and `I` is 64.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its parameters.
    pub params: &'static str,
    /// Its result, if it has one.
    pub result: &'static str,
}

/// Where the heap pointer of the guest's allocator lies.
pub(crate) const HEAP_POINTER: u32 = 0;
/// Where the arguments of the call lie that is being made.
const ARGUMENTS: u32 = 0x100;

/// Bytes of linear memory, in pages.
pub(crate) const PAGES: u32 = 16;

/// The part of a core module that interprets: `$interpret` decodes the text at an address and
/// makes its calls. The functions are imported from `module`, after `imports`.
pub(crate) fn interpreter(imports: &str, module: &str, functions: &[Function]) -> String {
    let mut text = imports.to_owned();
    for function in functions {
        text += &import(module, function);
    }
    text += "(type $shim (func (result i64)))";
    for function in functions {
        text += &shim(function);
    }
    let count = functions.len();
    write_all(
        &mut text,
        format_args!("(table $shims {count} funcref) (elem (i32.const 0)"),
    );
    for function in functions {
        write_all(&mut text, format_args!(" $shim:{}", function.name));
    }
    text + ")" + &decode() + &interpret()
}

fn import(module: &str, function: &Function) -> String {
    let Function {
        name,
        params,
        result,
    } = *function;
    let params: String = params.chars().map(value_type).collect();
    let result: String = result.chars().map(value_type).collect();
    format!("(import {module:?} {name:?} (func ${name} (param {params}) (result {result})))")
}

/// Calls a function with the arguments that lie ready, and widens what it returns.
fn shim(function: &Function) -> String {
    let Function {
        name,
        params,
        result,
    } = *function;
    let mut call = format!("(call ${name}");
    for (index, letter) in params.chars().enumerate() {
        let load = format!("(i64.load offset={} (i32.const {ARGUMENTS}))", index * 8);
        let load = match letter {
            'i' => format!("(i32.wrap_i64 {load})"),
            _ => load,
        };
        call.push_str(&load);
    }
    call.push(')');
    let body = match result {
        "" => format!("{call} (i64.const 0)"),
        "i" => format!("(i64.extend_i32_u {call})"),
        _ => call,
    };
    format!("(func $shim:{name} (type $shim) {body})")
}

fn value_type(letter: char) -> &'static str {
    match letter {
        'i' => " i32",
        _ => " i64",
    }
}

fn decode() -> String {
    format!(
        "(func $decode (param $from i32) (local $to i32)
           (local.set $to (i32.const {SCRIPT}))
           (block $end (loop $next
             (br_if $end (i32.lt_u (i32.load8_u (local.get $from)) (i32.const 97)))
             (i32.store8 (local.get $to) (i32.or
               (i32.shl (i32.sub (i32.load8_u (local.get $from)) (i32.const 97)) (i32.const 4))
               (i32.sub (i32.load8_u offset=1 (local.get $from)) (i32.const 97))))
             (local.set $from (i32.add (local.get $from) (i32.const 2)))
             (local.set $to (i32.add (local.get $to) (i32.const 1)))
             (br $next)))
           (memory.fill (i32.const {ANSWERS}) (i32.const 0) (i32.const 0x20000))
           (i32.store (i32.const {HEAP_POINTER}) (i32.const {HEAP})))"
    )
}

fn interpret() -> String {
    format!(
        "(func $interpret (param $text i32)
           (local $call i32) (local $end i32) (local $arg i32) (local $left i32) (local $to i32)
           (local $value i64)
           (call $decode (local.get $text))
           (local.set $call (i32.load (i32.const {SCRIPT})))
           (local.set $end (i32.load offset=4 (i32.const {SCRIPT})))
           (block $done (loop $next
             (br_if $done (i32.ge_u (local.get $call) (local.get $end)))
             (local.set $left (i32.load offset=4 (local.get $call)))
             (local.set $arg (i32.add (local.get $call) (i32.const 16)))
             (local.set $to (i32.const {ARGUMENTS}))
             (block $ready (loop $more
               (br_if $ready (i32.eqz (local.get $left)))
               (local.set $value (i64.load offset=8 (local.get $arg)))
               (if (i32.load (local.get $arg)) (then
                 (local.set $value (i64.load32_u (i32.wrap_i64 (local.get $value))))))
               (if (i32.eq (i32.load (local.get $arg)) (i32.const 2)) (then
                 (local.set $value (i64.load32_u (i32.wrap_i64 (local.get $value))))))
               (i64.store (local.get $to) (local.get $value))
               (local.set $to (i32.add (local.get $to) (i32.const 8)))
               (local.set $arg (i32.add (local.get $arg) (i32.const 16)))
               (local.set $left (i32.sub (local.get $left) (i32.const 1)))
               (br $more)))
             (i64.store (i32.load offset=8 (local.get $call))
               (call_indirect (type $shim) (i32.load (local.get $call))))
             (local.set $call (local.get $arg))
             (br $next))))"
    )
}

fn write_all(text: &mut String, what: std::fmt::Arguments<'_>) {
    if text.write_fmt(what).is_err() {
        text.clear(); // a String takes everything
    }
}
