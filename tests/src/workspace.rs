//! Where the checkout is.

use std::path::PathBuf;

/// This crate's folder. Cargo says so when it runs a test; what it said when it compiled may have
/// been another checkout with the same build folder.
pub fn tests() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    tests().join("..")
}
