//! Turns the bytes of a module into machine code: validate, check, compile.

use crate::engine::Engine;
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
/// It may take minutes and gigabytes for a hostile module: call it in a process that has
/// limits on both. It never panics, whatever the bytes.
///
/// # Errors
///
/// [`ModuleError`] says what is wrong with the module; it is the same for the same bytes.
pub fn compile(engine: &Engine, wasm: &[u8]) -> Result<Compiled, ModuleError> {
    let module = validate(wasm, engine.wasmtime.get_wasm_features())?;
    imports::check(wasm, &module)?;
    let code = match module.kind {
        Kind::Core => engine.wasmtime.precompile_module(wasm),
        Kind::Component => engine.wasmtime.precompile_component(wasm),
    }
    .map_err(|error| ModuleError::Compile {
        reason: sanitise(&format!("{error:#}"), 256),
    })?;
    Ok(Compiled {
        kind: module.kind,
        code,
    })
}
