//! A compiled program, loaded and linked once, that any number of VMs run.

use std::fmt;
use std::fs::File;

use wasmtime::InstancePre;
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::engine::{Engine, without_pool};
use crate::host::Host;
use crate::instances;
use crate::load;
use crate::trap::sanitise;
use crate::validate::Kind;

/// Code that is ready to run. Cloning it is cheap; the code is freed with the last clone.
#[derive(Clone)]
pub struct Program {
    pub(crate) engine: Engine,
    pub(crate) entry: Entry,
    /// What the host holds of its instances.
    pub(crate) instance_bytes: u64,
}

/// How a program is started.
#[derive(Clone)]
pub(crate) enum Entry {
    Core(InstancePre<Host>),
    Component(CommandPre<Host>),
}

/// Why code could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not code for this engine: compile the module again.
    #[error("the compiled code can't be loaded: {reason}")]
    Code {
        /// What wasmtime said.
        reason: String,
    },
    /// The module needs a host function with another type than it has here, or more
    /// tables or memories than a slot has: the module's fault.
    #[error("the module can't be linked: {reason}")]
    Link {
        /// What wasmtime said.
        reason: String,
    },
}

impl Program {
    /// Loads and links `code`, the whole of the file.
    ///
    /// Contract: the bytes came from [`crate::compile`] under the same [`Engine::hash`],
    /// were authenticated since, and the file does not change any more. Anything else is
    /// undefined behaviour, which is why nothing that a tenant sent may come here.
    ///
    /// # Errors
    ///
    /// [`LoadError::Code`] where the code is for another engine, [`LoadError::Link`] where
    /// the module does not fit what is linked.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the caller gives the file up, since nobody may change it any more"
    )]
    pub fn load(engine: &Engine, kind: Kind, code: File) -> Result<Self, LoadError> {
        let entry = match kind {
            Kind::Core => Entry::Core(core(engine, &code)?),
            Kind::Component => Entry::Component(component(engine, &code)?),
        };
        let instance_bytes =
            instances::bytes(kind, &code).map_err(|error| bad_code(&error.into()))?;
        Ok(Self {
            engine: engine.clone(),
            entry,
            instance_bytes,
        })
    }

    /// What the host holds for a run besides memories and tables, and counts of its memory: the
    /// functions, globals, imports and passive elements of each instance.
    pub fn instance_bytes(&self) -> u64 {
        self.instance_bytes
    }
}

fn core(engine: &Engine, code: &File) -> Result<InstancePre<Host>, LoadError> {
    let loaded = load::module(&engine.wasmtime, code);
    let module = loaded
        .map_err(|error| whose_fault(&error, |unpooled| load::module(unpooled, code).is_ok()))?;
    engine
        .linkers
        .core
        .instantiate_pre(&module)
        .map_err(|error| bad_link(&error))
}

fn component(engine: &Engine, code: &File) -> Result<CommandPre<Host>, LoadError> {
    let loaded = load::component(&engine.wasmtime, code);
    let component = loaded
        .map_err(|error| whose_fault(&error, |unpooled| load::component(unpooled, code).is_ok()))?;
    let pre = engine.linkers.component.instantiate_pre(&component);
    pre.and_then(CommandPre::new)
        .map_err(|error| bad_link(&error))
}

/// Code that loads where there is no pool is good code of a module that is too large.
fn whose_fault(
    error: &wasmtime::Error,
    loads_on: impl FnOnce(&wasmtime::Engine) -> bool,
) -> LoadError {
    match without_pool() {
        Ok(unpooled) if loads_on(&unpooled) => bad_link(error),
        Ok(_) | Err(_) => bad_code(error),
    }
}

fn bad_code(error: &wasmtime::Error) -> LoadError {
    LoadError::Code {
        reason: sanitise(&format!("{error:#}"), 512),
    }
}

fn bad_link(error: &wasmtime::Error) -> LoadError {
    LoadError::Link {
        reason: sanitise(&format!("{error:#}"), 512),
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.entry {
            Entry::Core(_) => Kind::Core,
            Entry::Component(_) => Kind::Component,
        };
        f.debug_struct("Program")
            .field("kind", &kind)
            .finish_non_exhaustive()
    }
}
