//! Where the checkout is.

use std::path::{Path, PathBuf};

/// The workspace's folder: the one with this crate's folder in it, around the crate that cargo runs
/// something of, which may be another. What cargo said when it compiled this may have been another
/// checkout with the same build folder.
pub fn root() -> PathBuf {
    let compiled = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let running = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(compiled, PathBuf::from);
    let mut around = running.ancestors().skip(1).map(Path::to_path_buf);
    let with_this = |folder: &PathBuf| folder.join("tests/guests").is_dir();
    around.find(with_this).unwrap_or_else(|| running.clone())
}

/// This crate's folder.
pub fn tests() -> PathBuf {
    root().join("tests")
}
