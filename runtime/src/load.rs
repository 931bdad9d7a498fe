//! Maps compiled code into this process: the only unsafe step of the crate.
#![expect(
    unsafe_code,
    reason = "wasmtime can't check that compiled code is its own"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

/// Maps a core module's code; its pages are shared with the file.
///
/// The caller of [`crate::Program::load`] has authenticated the file.
pub(crate) fn module(engine: &Engine, code: &File) -> wasmtime::Result<Module> {
    let code = code.try_clone()?;
    // SAFETY: by the contract of `Program::load` the bytes were written by `compile` under
    // an engine of the same hash and authenticated since, and nobody changes the file.
    unsafe { Module::deserialize_open_file(engine, code) }
}

/// Copies a component's code into memory and maps it.
pub(crate) fn component(engine: &Engine, code: &File) -> wasmtime::Result<Component> {
    let len = usize::try_from(code.metadata()?.len())?;
    let mut bytes = vec![0; len];
    code.read_exact_at(&mut bytes, 0)?;
    // SAFETY: as for `module`.
    unsafe { Component::deserialize(engine, bytes) }
}
