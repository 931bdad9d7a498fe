//! Turns what wasmtime reports about a failed guest into one safe, short sentence.

use wasmtime::{Trap, WasmBacktrace};

/// Functions named in one message.
const MAX_FRAMES: usize = agentvm_policy::budget::TRAP_FRAMES.usize();
/// Characters of one function's name.
const MAX_NAME_CHARS: usize = agentvm_policy::budget::FUNCTION_NAME_CHARS.usize();

/// How a guest failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It called for its own end.
    Exit(i32),
    /// Its fuel is used up.
    OutOfFuel,
    /// It trapped.
    Trap(String),
    /// Its arguments and environment, of this many bytes, are more than its memory.
    Arguments(u64),
    /// The host had no room for it, or its operating system failed it.
    NoSlot(String),
}

/// Sorts an error that ended a guest.
pub(crate) fn classify(error: &wasmtime::Error) -> Failure {
    if let Some(wasmtime_wasi::I32Exit(code)) = error.downcast_ref() {
        return Failure::Exit(*code);
    }
    if error
        .downcast_ref::<wasmtime::PoolConcurrencyLimitError>()
        .is_some()
    {
        return Failure::NoSlot(sanitise(&error.root_cause().to_string(), 256));
    }
    if let Some(error) = error.downcast_ref::<std::io::Error>() {
        return Failure::NoSlot(sanitise(&error.to_string(), 256));
    }
    if let Some(error) = error.downcast_ref::<rustix::io::Errno>() {
        return Failure::NoSlot(sanitise(&error.to_string(), 256));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel) => Failure::OutOfFuel,
        Some(trap) => {
            let what = trap.to_string();
            Failure::Trap(describe(what.trim_start_matches("wasm trap: "), error))
        }
        None => Failure::Trap(describe(&error.root_cause().to_string(), error)),
    }
}

fn describe(what: &str, error: &wasmtime::Error) -> String {
    let mut message = sanitise(what, 256);
    let names = error
        .downcast_ref::<WasmBacktrace>()
        .map(frames)
        .unwrap_or_default();
    if !names.is_empty() {
        message.push_str(" in ");
        message.push_str(&names.join(" < "));
    }
    message
}

fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => sanitise(name, MAX_NAME_CHARS),
        None => format!("function {}", frame.func_index()),
    };
    backtrace
        .frames()
        .iter()
        .take(MAX_FRAMES)
        .map(name)
        .collect()
}

/// `text` without control and formatting characters, cut to `max_chars`.
///
/// Names come from guests: they must not forge lines of a log or turn text around.
pub fn sanitise(text: &str, max_chars: usize) -> String {
    let harmless = |c: char| if is_harmless(c) { c } else { '?' };
    let mut clean: String = text.chars().map(harmless).take(max_chars).collect();
    if text.chars().nth(max_chars).is_some() {
        clean.pop();
        clean.push('…');
    }
    clean
}

fn is_harmless(c: char) -> bool {
    !c.is_control()
        && !matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_guest_can_not_forge_a_line_or_turn_it_around() {
        for (text, expected) in [
            ("plain_name", "plain_name"),
            ("two\nlines\r\x1b[31m", "two?lines??[31m"),
            ("bidi\u{202e}evil", "bidi?evil"),
        ] {
            assert_eq!(sanitise(text, 64), expected);
        }
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        assert_eq!(sanitise("0123456789", 10), "0123456789");
        assert_eq!(sanitise("0123456789a", 10), "012345678…");
    }
}
