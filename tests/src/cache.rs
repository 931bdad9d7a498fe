//! Things that are expensive to make and never change: built or downloaded once, kept across runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Result;

/// The cache's folder: `AGENTVM_CACHE`, or `~/.cache/agentvm`.
pub fn dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("AGENTVM_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME").context("neither AGENTVM_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/agentvm"))
}

/// The folder `name` of the cache, filled by `fill` if it is not there yet.
///
/// Only one process makes it, others wait; a half-made one is never seen.
pub fn once(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let made = dir()?.join(name);
    let beside = |suffix: &str| made.with_file_name(format!("{}{suffix}", file_name(name)));
    fs::create_dir_all(made.parent().context("a cache entry has a parent folder")?)?;
    let lock = File::create(beside(".lock"))?;
    lock.lock().context("locking the cache")?;
    if made.is_dir() {
        return Ok(made);
    }
    let partial = beside(".partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    fill(&partial).with_context(|| format!("filling {}", made.display()))?;
    fs::rename(&partial, &made)?;
    Ok(made)
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}
