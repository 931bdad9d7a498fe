//! Folders for one run of a test binary: logs, sockets, keys. Kept until the next run, for reading.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Context;

use crate::Result;

/// A new folder under this test binary's scratch folder. `name` is used as it stands, so that
/// paths are short enough for Unix sockets and easy to find after a failure.
pub fn dir(name: &str) -> Result<PathBuf> {
    let dir = root()?.join(name);
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

fn root() -> Result<&'static Path> {
    static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    ROOT.get_or_init(|| make_root().map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn make_root() -> Result<PathBuf> {
    let all = std::env::temp_dir().join("agentvm-tests");
    fs::create_dir_all(&all)?;
    sweep(&all)?;
    let mine = all.join(std::process::id().to_string());
    if mine.exists() {
        fs::remove_dir_all(&mine)?;
    }
    fs::create_dir(&mine)?;
    Ok(mine)
}

/// Removes what runs left that are over, so that only the last ones can be read.
fn sweep(all: &Path) -> Result<()> {
    let mut over = Vec::new();
    for entry in fs::read_dir(all)? {
        let entry = entry?;
        if !Path::new("/proc").join(entry.file_name()).exists() {
            over.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    over.sort();
    over.reverse();
    for (_, path) in over.iter().skip(6) {
        // Another test binary may sweep the same folder.
        let _ = fs::remove_dir_all(path);
    }
    Ok(())
}
