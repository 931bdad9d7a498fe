//! Looks at bytes that claim to be a program, before anything expensive is done with them.

use wasmparser::types::Types;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

use crate::compile::MAX_MODULE_BYTES;
use crate::proposals;
use crate::trap::sanitise;

/// The two shapes a program can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A core module over `wasi_snapshot_preview1`.
    Core,
    /// A component over `wasi:cli` 0.2.
    Component,
}

/// Why a module is refused. All but [`ModuleError::Compile`] are its author's doing, and
/// trying again can't help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleError {
    /// It is larger than any program may be.
    #[error("the module has {bytes} bytes, more than the {max} that are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        max: usize,
    },
    /// It is something else than WebAssembly.
    #[error("the module is not WebAssembly: it is {found}")]
    NotWasm {
        /// What it seems to be.
        found: &'static str,
    },
    /// It starts like WebAssembly and is malformed, or needs a proposal that is closed.
    #[error("the module is invalid at byte {offset}: {reason}")]
    Invalid {
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// It can't be started as a command.
    #[error("the module is not a command: {reason}")]
    NoEntryPoint {
        /// What is missing.
        reason: &'static str,
    },
    /// It needs more of the machine than any VM gets.
    #[error("the module needs {what}, more than the {max} that a VM can have")]
    Oversized {
        /// What it needs.
        what: String,
        /// The most there is.
        max: usize,
    },
    /// It imports what is not there for it.
    #[error("the module imports what is not granted: {}", names.join(", "))]
    MissingImports {
        /// The imports, sorted, at most 32 of them, without control characters.
        names: Vec<String>,
    },
    /// It is valid and could not be compiled.
    #[error("the module can't be compiled: {reason}")]
    Compile {
        /// What the compiler said.
        reason: String,
    },
}

/// A module that is well-formed, with its types.
pub(crate) struct Validated {
    pub(crate) kind: Kind,
    pub(crate) types: Types,
}

/// Checks the size, the shape and every byte of `wasm` against the engine's `features`.
pub(crate) fn validate(wasm: &[u8], features: WasmFeatures) -> Result<Validated, ModuleError> {
    if wasm.len() > MAX_MODULE_BYTES {
        return Err(ModuleError::TooLarge {
            bytes: wasm.len(),
            max: MAX_MODULE_BYTES,
        });
    }
    let kind = detect(wasm)?;
    let types = Validator::new_with_features(features)
        .validate_all(wasm)
        .map_err(|error| invalid(&error))?;
    Ok(Validated { kind, types })
}

/// The payloads of the outermost module or component, without those nested inside it.
pub(crate) fn top_level(wasm: &[u8]) -> impl Iterator<Item = Result<Payload<'_>, ModuleError>> {
    let mut depth = 0_usize;
    Parser::new(0)
        .parse_all(wasm)
        .filter_map(move |payload| match payload {
            Err(error) => Some(Err(invalid(&error))),
            Ok(Payload::ModuleSection { .. } | Payload::ComponentSection { .. }) => {
                depth += 1;
                None
            }
            Ok(Payload::End(_)) => {
                depth = depth.saturating_sub(1);
                None
            }
            Ok(payload) if depth == 0 => Some(Ok(payload)),
            Ok(_) => None,
        })
}

pub(crate) fn invalid(error: &wasmparser::BinaryReaderError) -> ModuleError {
    let reason = match error.missing_wasm_feature() {
        Some(feature) => format!(
            "it needs the WebAssembly proposal {}, which is closed: {}",
            proposals::name(feature),
            error.message()
        ),
        None => error.message().to_owned(),
    };
    ModuleError::Invalid {
        offset: u64::try_from(error.offset()).unwrap_or(u64::MAX),
        reason: sanitise(&reason, 256),
    }
}

fn detect(wasm: &[u8]) -> Result<Kind, ModuleError> {
    if let Some(rest) = wasm.strip_prefix(b"\0asm") {
        return match rest.get(..4) {
            Some([1, 0, 0, 0]) => Ok(Kind::Core),
            Some([0x0d, 0, 1, 0]) => Ok(Kind::Component),
            Some(_) => Err(ModuleError::NotWasm {
                found: "a version of WebAssembly that is not known",
            }),
            None => Err(ModuleError::NotWasm {
                found: "cut off in its first 8 bytes",
            }),
        };
    }
    Err(ModuleError::NotWasm { found: guess(wasm) })
}

fn guess(bytes: &[u8]) -> &'static str {
    let text = bytes.trim_ascii_start();
    match bytes {
        [] => "empty",
        [0x7f, b'E', b'L', b'F', ..] => "an ELF file: native or already compiled code",
        [0x1f, 0x8b, ..] => "compressed with gzip",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "compressed with zstd",
        [b'P', b'K', 3, 4, ..] => "a zip archive",
        [b'#', b'!', ..] => "a script",
        _ if text.starts_with(b"(module") || text.starts_with(b"(component") => {
            "WebAssembly text, which has to be assembled first"
        }
        _ => "some other format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_decides_what_it_is() {
        let not = |found| Err(ModuleError::NotWasm { found });
        for (bytes, expected) in [
            (&b"\0asm\x01\0\0\0"[..], Ok(Kind::Core)),
            (b"\0asm\x0d\0\x01\0", Ok(Kind::Component)),
            (
                b"\0asm\x02\0\0\0",
                not("a version of WebAssembly that is not known"),
            ),
            (b"\0asm\x01\0", not("cut off in its first 8 bytes")),
            (b"\0as", not("some other format")),
            (b"", not("empty")),
            (
                b"\x7fELF\x02",
                not("an ELF file: native or already compiled code"),
            ),
            (b"\x1f\x8b\x08", not("compressed with gzip")),
            (
                b"  (module)",
                not("WebAssembly text, which has to be assembled first"),
            ),
            (b"#!/bin/sh", not("a script")),
        ] {
            assert_eq!(detect(bytes), expected, "{bytes:?}");
        }
    }
}
