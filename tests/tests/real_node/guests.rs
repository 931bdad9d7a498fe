//! What the examples run, built and pushed as their readers would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentvm_tests::built::binary;
use agentvm_tests::program::stdout_of;
use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::{Result, guests, scratch, workspace};
use anyhow::Context as _;

/// Pushes every guest that the examples name.
pub(crate) fn push_all(stage: &Stage) -> Result<()> {
    let dir = scratch::dir("guests")?;
    for name in ["hello", "detective", "rogue", "echo"] {
        let wasm = dir.join(format!("{name}.wasm"));
        build_guest(name, &wasm)?;
        push(stage, &wasm, &format!("{name}:v1"))?;
    }
    push(stage, &guests::cpython()?, "cpython:3.12")
}

/// Pushes a guest to the node's registry.
pub(crate) fn push(stage: &Stage, wasm: &Path, name: &str) -> Result<()> {
    let mut push = Command::new(binary("agentvm")?);
    push.args(["push", "--insecure"])
        .arg(wasm)
        .arg(format!("{}/{name}", stage.registry.address));
    stdout_of(&mut push).map(|_| ())
}

fn build_guest(name: &str, wasm: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(wasm)
        .arg(format!("./{name}"))
        .current_dir(workspace::root().join("examples/guests"))
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")]);
    stdout_of(&mut go).map(|_| ())
}

/// The examples' manifests, with the name of their file.
pub(crate) fn examples() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(workspace::root().join("examples"))? {
        let path: PathBuf = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = path.file_name().context("a file has a name")?;
            all.push((
                name.to_string_lossy().into_owned(),
                fs::read_to_string(&path)?,
            ));
        }
    }
    all.sort();
    Ok(all)
}
