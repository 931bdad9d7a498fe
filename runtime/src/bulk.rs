//! Cuts instructions that work on much memory into pieces: a program is rewritten before it is
//! compiled.
//!
//! `memory.fill`, `memory.copy` and `memory.init` work on up to a GiB in one step, in which a guest
//! neither pays nor gives way nor can be stopped. In front of each of them whose length may be above
//! a piece stands, in what is compiled,
//!
//! ```text
//! local.tee $length  local.get $length  i32.const PIECE  i32.gt_u
//! if (param i32 i32 i32) (result i32 i32 i32)  call $loop  end
//! memory.fill
//! ```
//!
//! `$loop` is a function behind all others of the module. It does the same piece by piece, up to the
//! last one, whose arguments it returns: that one is the instruction's. Where the whole would trap it
//! does nothing and returns what it was given, so that the instruction traps where it stands and
//! nothing was written. Everything else of a program is copied as it is, byte by byte.
//!
//! What is made here is validated by the compiler like any other module: a mistake here is an error
//! there.

mod body;
mod loops;
mod module;
mod names;
mod section;
#[cfg(test)]
mod tests;

use wasmparser::BinaryReaderError;

use self::module::Module;
use self::section::{HEADER_BYTES, Section, sections};

/// Which way modules are rewritten: part of what compiled code depends on, so that code that was
/// compiled from a module that was rewritten otherwise is not used.
pub(crate) const REVISION: u32 = 1;

/// Sections of a component.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// Why a program could not be rewritten; a valid one always can.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutError {
    /// It could not be read.
    #[error("it can't be read again: {0}")]
    Read(#[from] BinaryReaderError),
    /// It does not fit together.
    #[error("it can't be rewritten: {0}")]
    Odd(&'static str),
}

type Result<T> = std::result::Result<T, CutError>;

/// The program `wasm`, which is valid, without steps on more than `piece` bytes of memory; `None`
/// where it has none.
///
/// # Errors
///
/// [`CutError`] where it was not valid.
pub(crate) fn cut(wasm: &[u8], piece: u32) -> Result<Option<Vec<u8>>> {
    if !is_to_be_cut(wasm, piece)? {
        return Ok(None);
    }
    let mut out = Vec::with_capacity(wasm.len() + wasm.len() / 16);
    write(&mut out, wasm, piece)?;
    Ok(Some(out))
}

/// A core module, or the sections of a component.
enum Shape<'a> {
    Core(Module<'a>),
    Component(Vec<Section<'a>>),
}

impl<'a> Shape<'a> {
    fn of(wasm: &'a [u8], piece: u32) -> Result<Self> {
        let is_core = wasm.get(4..HEADER_BYTES) == Some(&[1, 0, 0, 0]);
        let sections = sections(wasm).collect::<Result<Vec<_>>>()?;
        Ok(if is_core {
            Self::Core(Module::of(sections, piece)?)
        } else {
            Self::Component(sections)
        })
    }
}

fn is_to_be_cut(wasm: &[u8], piece: u32) -> Result<bool> {
    match Shape::of(wasm, piece)? {
        Shape::Core(module) => Ok(module.is_to_be_cut()),
        Shape::Component(sections) => {
            for section in sections {
                if matches!(section.id, CORE_MODULE | COMPONENT)
                    && is_to_be_cut(section.content, piece)?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

fn write(out: &mut Vec<u8>, wasm: &[u8], piece: u32) -> Result<()> {
    let shape = Shape::of(wasm, piece)?;
    if let Shape::Core(module) = &shape
        && !module.is_to_be_cut()
    {
        out.extend(wasm);
        return Ok(());
    }
    out.extend(wasm.get(..HEADER_BYTES).unwrap_or(wasm));
    match shape {
        Shape::Core(module) => module.write(out),
        Shape::Component(sections) => {
            for part in sections {
                match part.id {
                    CORE_MODULE | COMPONENT => {
                        section::write(out, part.id, |out| write(out, part.content, piece))?;
                    }
                    _ => out.extend(part.whole),
                }
            }
            Ok(())
        }
    }
}
