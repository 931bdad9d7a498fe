//! Components: Python and JavaScript programs with the interpreters they run in.

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
    let folder = sources().join("python-component");
    let files = ["app.py", "wit/world.wit", "wit/deps/cli/run.wit"].map(|file| folder.join(file));
    compiled("python-component", &files, |out| {
        let tool = cache::once("guests-componentize-py-0.25.1", |dir| {
            wheel::unpacked(FOR_PYTHON, dir).map(drop)
        })?;
        let mut python = Command::new("python3");
        python
            .args(["-c", "from componentize_py import script; script()"])
            .args(["-d", "wit", "-w", "files", "componentize", "app", "-o"])
            .arg(out)
            .current_dir(&folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONPATH", tool.join("wheel"));
        stdout_of(&mut python).map(drop)
    })
}

/// The component that `guests/js-component` is made into.
pub fn js_component() -> Result<PathBuf> {
    let folder = sources().join("js-component");
    let types = folder.join("wit/deps/filesystem/types.wit");
    let files = [folder.join("app.js"), folder.join("wit/world.wit"), types];
    compiled("js-component", &files, |out| {
        let tool = cache::once("guests-componentize-js-0.23.0", npm_install)?;
        let mut node = Command::new("node");
        node.arg(tool.join("node_modules/@bytecodealliance/componentize-js/src/cli.js"))
            .args(["app.js", "--wit", "wit", "-d", "http", "-d", "fetch-event"])
            .arg("-o")
            .arg(out)
            .current_dir(&folder);
        stdout_of(&mut node).map(drop)
    })
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
