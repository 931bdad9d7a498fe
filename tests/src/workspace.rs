//! Where the checkout is.

use std::path::{Path, PathBuf};

/// The workspace's folder: the one with this crate's folder in it, around the crate that cargo runs
/// something of, which may be another. What cargo said when it compiled this may have been another
/// checkout with the same build folder.
pub fn root() -> PathBuf {
    let compiled = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let running = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled, PathBuf::from);
    let around = running.ancestors().skip(1);
    around
        .filter(|folder| folder.join("tests/guests").is_dir())
        .map(Path::to_path_buf)
        .next()
        .unwrap_or(running)
}

/// This crate's folder.
pub fn tests() -> PathBuf {
    root().join("tests")
}
