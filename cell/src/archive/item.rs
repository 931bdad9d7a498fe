//! One thing of an archive, and what it may be called.

use crate::guards::{Guard, is_on};

/// One thing of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its path below the archive's top: relative and canonical.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// When its content last changed, in seconds since the Unix epoch.
    pub modified_unix_s: u64,
}

/// What a thing of an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Names.
    Directory,
    /// Bytes.
    File {
        /// How many.
        bytes: u64,
    },
    /// A symbolic link: a path that nobody has looked at.
    Symlink {
        /// Where it leads.
        target: String,
    },
    /// Another name for a file that came before it.
    HardLink {
        /// The first name, as [`Item::path`].
        to: String,
    },
}

/// Why a name can't be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is not UTF-8.
    #[error("the name {0} is not UTF-8, as every name in a VM is")]
    NotUtf8(String),
    /// It leads elsewhere, or names nothing.
    #[error("the name {0} is not a relative path without . or .. or //")]
    NotCanonical(String),
    /// A name or the whole path is too long, or nested too deeply.
    #[error(
        "the name {0} is too long: a name has at most {name} bytes, a path {path}, in at most {depth} directories",
        name = agentvm_runtime::vfs::MAX_NAME_BYTES,
        path = agentvm_runtime::vfs::MAX_PATH_BYTES,
        depth = agentvm_runtime::vfs::MAX_DEPTH
    )]
    TooLong(String),
}

/// A path below the top of an archive, from its bytes.
pub fn check_path(bytes: &[u8]) -> Result<String, NameError> {
    let shown = || shown(bytes);
    let path = str::from_utf8(bytes).map_err(|_why| NameError::NotUtf8(shown()))?;
    if path.len() > agentvm_runtime::vfs::MAX_PATH_BYTES {
        return Err(NameError::TooLong(shown()));
    }
    for (depth, name) in path.split('/').enumerate() {
        let leads_elsewhere = matches!(name, "" | "." | "..") || name.contains('\0');
        if leads_elsewhere && is_on(Guard::ArchiveNames) {
            return Err(NameError::NotCanonical(shown()));
        }
        if name.len() > agentvm_runtime::vfs::MAX_NAME_BYTES
            || depth >= agentvm_runtime::vfs::MAX_DEPTH
        {
            return Err(NameError::TooLong(shown()));
        }
    }
    Ok(path.to_owned())
}

/// A name as it stands in a sentence: quoted, with its end cut off where it is long.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 120;
    let cut = bytes.get(..MOST).unwrap_or(bytes);
    let dots = if cut.len() < bytes.len() { "..." } else { "" };
    format!("{:?}{dots}", String::from_utf8_lossy(cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_relative_and_canonical() {
        for path in ["a", "a/b", ".a/..b", "ä/…", "a\\b", " ", "a\n"] {
            assert_eq!(check_path(path.as_bytes()), Ok(path.to_owned()));
        }
        let (long, deep) = ("n".repeat(256), vec!["d"; 513].join("/"));
        for path in [
            "",
            "/",
            "/etc/passwd",
            ".",
            "..",
            "../a",
            "a/..",
            "a/../../b",
            "a//b",
            "a/",
            "./a",
            "a/./b",
            "a\0b",
            &long,
            &deep,
        ] {
            assert!(check_path(path.as_bytes()).is_err(), "{path:?}");
        }
        assert!(matches!(check_path(b"\xff"), Err(NameError::NotUtf8(_))));
        let sentence = check_path(long.as_bytes()).unwrap_err().to_string();
        assert!(sentence.len() < 300, "{sentence}");
    }
}
