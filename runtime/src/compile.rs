//! Turns the bytes of a module into machine code: validate, check, cut, compile.

use crate::bulk;
use crate::engine::Engine;
use crate::guards::{Guard, is_on};
use crate::imports;
use crate::trap::sanitise;
use crate::validate::{Kind, ModuleError, validate};

/// The largest module that is looked at, in bytes.
pub const MAX_MODULE_BYTES: usize = agentvm_policy::budget::MODULE_BYTES.usize();

/// Machine code, ready for [`crate::Program::load`] under the same engine hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Compiled {
    /// The shape of the module.
    pub kind: Kind,
    /// The code, in wasmtime's own format.
    pub code: Vec<u8>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled")
            .field("kind", &self.kind)
            .field("code_bytes", &self.code.len())
            .finish()
    }
}

/// Compiles `wasm`. Cheap checks come first: validation, then imports and entry point.
///
/// What it takes long to do in one step is cut into pieces before it is compiled, which may take a
/// second copy of the bytes: those that are given away are freed then.
///
/// It may take minutes and gigabytes for a hostile module: call it in a process that has
/// limits on both. It never panics, whatever the bytes.
///
/// # Errors
///
/// [`ModuleError`] says what is wrong with the module; it is the same for the same bytes.
pub fn compile(engine: &Engine, wasm: impl AsRef<[u8]>) -> Result<Compiled, ModuleError> {
    let kind = check(engine, wasm.as_ref())?;
    let code = match cut(engine, wasm.as_ref())? {
        Some(pieces) => {
            drop(wasm);
            translate(engine, kind, &pieces)?
        }
        None => translate(engine, kind, wasm.as_ref())?,
    };
    Ok(Compiled { kind, code })
}

fn check(engine: &Engine, wasm: &[u8]) -> Result<Kind, ModuleError> {
    let module = validate(wasm, engine.wasmtime.get_wasm_features())?;
    imports::check(wasm, &module)?;
    Ok(module.kind)
}

fn cut(engine: &Engine, wasm: &[u8]) -> Result<Option<Vec<u8>>, ModuleError> {
    if !is_on(Guard::BulkPieces) {
        return Ok(None);
    }
    bulk::cut(wasm, engine.piece).map_err(|error| failed(&error.to_string()))
}

/// Validates what was made of the module as well, and compiles it.
fn translate(engine: &Engine, kind: Kind, wasm: &[u8]) -> Result<Vec<u8>, ModuleError> {
    let code = match kind {
        Kind::Core => engine.wasmtime.precompile_module(wasm),
        Kind::Component => engine.wasmtime.precompile_component(wasm),
    };
    code.map_err(|error| failed(&format!("{error:#}")))
}

fn failed(reason: &str) -> ModuleError {
    ModuleError::Compile {
        reason: sanitise(reason, 256),
    }
}
