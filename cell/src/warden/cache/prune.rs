//! Keeps the cache's directory below its bound: entries that were used longest ago go first.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One file below the cache's root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    path: PathBuf,
    used: SystemTime,
    bytes: u64,
}

/// Removes entries of any engine until all of them together have at most `max_bytes`. Blocks.
pub(super) fn prune(root: &Path, max_bytes: u64) -> io::Result<()> {
    for path in surplus(entries(root)?, max_bytes) {
        tracing::info!(entry = %path.display(), "cache is full: entry removed");
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn entries(root: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for engine in std::fs::read_dir(root)? {
        let engine = engine?;
        if !engine.file_type()?.is_dir() {
            continue;
        }
        for file in std::fs::read_dir(engine.path())? {
            let file = file?;
            let facts = file.metadata()?;
            entries.push(Entry {
                path: file.path(),
                used: facts.modified()?,
                bytes: facts.len(),
            });
        }
    }
    Ok(entries)
}

fn surplus(mut entries: Vec<Entry>, max_bytes: u64) -> Vec<PathBuf> {
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
    let mut kept_bytes = 0_u64;
    let too_old = entries.into_iter().skip_while(|entry| {
        kept_bytes = kept_bytes.saturating_add(entry.bytes);
        kept_bytes <= max_bytes
    });
    too_old.map(|entry| entry.path).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let entry = |name: &str, age_s: u64, bytes| Entry {
            path: name.into(),
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(1000 - age_s),
            bytes,
        };
        let entries = vec![
            entry("old", 9, 10),
            entry("new", 1, 10),
            entry("middle", 5, 10),
        ];
        let gone = |max_bytes| surplus(entries.clone(), max_bytes);
        assert_eq!(gone(30), Vec::<PathBuf>::new());
        assert_eq!(gone(29), [PathBuf::from("old")]);
        assert_eq!(gone(10), [PathBuf::from("middle"), PathBuf::from("old")]);
        assert_eq!(gone(0).len(), 3);
    }
}
