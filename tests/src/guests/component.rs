//! Components: Python and JavaScript programs with the interpreters they run in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::compiled::compiled;
use super::{sources, wheel};
use crate::program::stdout_of;
use crate::{Result, cache};

/// What makes components of Python programs.
const FOR_PYTHON: &str = "componentize-py==0.25.1";
/// What makes components of JavaScript programs.
const FOR_JAVASCRIPT: &str = "@bytecodealliance/componentize-js@0.23.0";

/// The component that `guests/python-component` is made into.
pub fn python_component() -> Result<PathBuf> {
    python(
        "python-component",
        &sources().join("python-component"),
        "files",
    )
}

/// The component that `guests/js-component` is made into.
pub fn js_component() -> Result<PathBuf> {
    let folder = sources().join("js-component");
    javascript("js-component", &folder, &["http", "fetch-event"])
}

/// The component that `app.py` of `folder`, with its `wit`, is made into for `world`.
pub fn python(name: &str, folder: &Path, world: &str) -> Result<PathBuf> {
    compiled(name, &files(folder)?, |out| {
        let tool = cache::once("guests-componentize-py-0.25.1", |dir| {
            wheel::unpacked(FOR_PYTHON, dir).map(drop)
        })?;
        let mut python = Command::new("python3");
        python
            .args(["-c", "from componentize_py import script; script()"])
            .args(["-d", "wit", "-w", world, "componentize", "app", "-o"])
            .arg(out)
            .current_dir(folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", tool.join("wheel"));
        stdout_of(&mut python).map(drop)
    })
}

/// The component that `app.js` of `folder`, with its `wit`, is made into, without the features
/// that it has no use for.
pub fn javascript(name: &str, folder: &Path, without: &[&str]) -> Result<PathBuf> {
    compiled(name, &files(folder)?, |out| {
        let tool = cache::once("guests-componentize-js-0.23.0", npm_install)?;
        let mut node = Command::new("node");
        node.arg(tool.join("node_modules/@bytecodealliance/componentize-js/src/cli.js"))
            .args(["app.js", "--wit", "wit"])
            .args(without.iter().flat_map(|feature| ["-d", feature]))
            .arg("-o")
            .arg(out)
            .current_dir(folder);
        stdout_of(&mut node).map(drop)
    })
}

/// Every source below `folder`.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let kind = path.extension().unwrap_or_default();
            if path.is_dir() {
                left.push(path);
            } else if ["py", "js", "wit"].iter().any(|known| kind == *known) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn npm_install(dir: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-save",
        "--no-audit",
        "--no-fund",
    ])
    .arg("--prefix")
    .arg(dir)
    .arg(FOR_JAVASCRIPT);
    stdout_of(&mut npm).map(drop)
}
