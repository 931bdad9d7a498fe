//! The workspace's programs as Cargo has built them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{Result, program};

/// The program `name`, which lies beside the asker or beside its folder.
///
/// Fails where a source is newer: Cargo builds the programs of *other* crates for a test only
/// where it is told to, and an old program would be tested in silence. `AGENTVM_OLD_PROGRAMS=allow`
/// in the environment lets you edit while tests run.
pub fn binary(name: &str) -> Result<PathBuf> {
    let asker = std::env::current_exe()?;
    // A test is in target/PROFILE/deps, a program in target/PROFILE.
    let built = asker
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| program::missing(OsStr::new(name)))?;
    let allow = std::env::var_os("AGENTVM_OLD_PROGRAMS").is_some_and(|value| value == "allow");
    if !allow && let Some(source) = newer_source(&built)? {
        anyhow::bail!(
            "{} is older than {}: run `cargo build --workspace --bins`",
            built.display(),
            source.display()
        );
    }
    Ok(built)
}

/// A source of the program that was changed after it was built, by the list that Cargo keeps
/// beside it.
fn newer_source(built: &Path) -> Result<Option<PathBuf>> {
    let made = fs::metadata(built)?.modified()?;
    let list = fs::read_to_string(built.with_extension("d"))?;
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    for source in sources.replace("\\ ", "\0").split_whitespace() {
        let source = PathBuf::from(source.replace('\0', " "));
        if fs::metadata(&source)
            .and_then(|facts| facts.modified())
            .is_ok_and(|changed| changed > made)
        {
            return Ok(Some(source));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn a_source_that_is_newer_than_its_program_is_found() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name);
        for file in ["program", "a b.rs"] {
            fs::write(path(file), "")?;
        }
        let list = format!(
            "{}: {}",
            path("program").display(),
            path("a\\ b.rs").display()
        );
        fs::write(path("program.d"), list)?;
        let built = SystemTime::now();
        fs::File::open(path("program"))?.set_modified(built)?;
        let source = fs::File::open(path("a b.rs"))?;
        source.set_modified(built - Duration::from_secs(5))?;
        assert_eq!(newer_source(&path("program"))?, None);
        source.set_modified(built + Duration::from_secs(5))?;
        assert_eq!(newer_source(&path("program"))?, Some(path("a b.rs")));
        Ok(())
    }
}
