//! Guests that are compiled when tests run, once for each version of their sources.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::{sources, wheel};
use crate::program::stdout_of;
use crate::{Result, cache, workspace};

/// The Go program in `guests/NAME`, as a core module.
pub fn go(name: &str) -> Result<PathBuf> {
    let folder = sources().join(name);
    compiled(
        name,
        &[folder.join("main.go"), folder.join("go.mod")],
        |out| {
            let mut go = Command::new("go");
            go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
                .arg(out)
                .arg(".")
                .current_dir(&folder)
                .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")]);
            stdout_of(&mut go).map(drop)
        },
    )
}

/// The Go program in `guests/NAME`, which makes requests with the package for guests.
pub fn go_for_vms(name: &str) -> Result<PathBuf> {
    go_with_package(name, &sources().join(name))
}

/// The Go program in `folder`, which makes requests with the package for guests.
pub fn go_with_package(name: &str, folder: &Path) -> Result<PathBuf> {
    let mut files = Vec::new();
    let package = workspace::root().join("guest/go/agentvm");
    for dir in [folder, &package, &package.join("http")] {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|kind| kind == "go" || kind == "mod")
            {
                files.push(path);
            }
        }
    }
    files.sort();
    compiled(name, &files, |out| {
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(out)
            .arg(".")
            .current_dir(folder)
            .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")]);
        stdout_of(&mut go).map(drop)
    })
}

/// The C program `guests/c/NAME.c`, as a core module.
pub fn c(name: &str) -> Result<PathBuf> {
    let source = sources().join("c").join(format!("{name}.c"));
    compiled(name, std::slice::from_ref(&source), |out| {
        zig_cc(&source, &[], out)
    })
}

/// Compiles one C file for WASI.
pub(super) fn zig_cc(source: &Path, flags: &[String], out: &Path) -> Result<()> {
    let mut zig = Command::new(wheel::zig()?);
    zig.args(["cc", "-target", "wasm32-wasi", "-O1", "-o"])
        .arg(out)
        .arg(source)
        .args(flags)
        .env(
            "ZIG_GLOBAL_CACHE_DIR",
            cache::dir()?.join("guests-zig-cache"),
        );
    stdout_of(&mut zig).map(drop)
}

/// The module that `compile` makes of `files`, from the cache where they have not changed.
pub(super) fn compiled(
    name: &str,
    files: &[PathBuf],
    compile: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(file)?);
    }
    let mut digest = String::new();
    for byte in hash.finalize().iter().take(8) {
        write!(digest, "{byte:02x}")?;
    }
    let module = format!("{name}.wasm");
    let dir = cache::once(&format!("guests-{name}-{digest}"), |dir| {
        compile(&dir.join(&module))
    })?;
    Ok(dir.join(module))
}
