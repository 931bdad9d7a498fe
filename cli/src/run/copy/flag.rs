//! `--copy-in` and `--copy-out`, as they are typed.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// `DIR:/work` of `--copy-in`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) struct CopyIn {
    /// A folder of this machine.
    pub(super) dir: PathBuf,
    /// Where its content goes in the VM.
    pub(super) path: String,
}

/// `/work/out:DIR` of `--copy-out`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::run) struct CopyOut {
    /// A path in the VM.
    pub(super) path: String,
    /// A folder of this machine.
    pub(super) dir: PathBuf,
}

impl FromStr for CopyIn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The last one, so that a folder's name may hold colons.
        match text.rsplit_once(":/") {
            Some((dir, path)) if !dir.is_empty() => Ok(Self {
                dir: PathBuf::from(dir),
                path: inside(&format!("/{path}")),
            }),
            Some(_) | None => Err("write DIR:/PATH, such as ./input:/work".to_owned()),
        }
    }
}

impl FromStr for CopyOut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((path, dir)) if path.starts_with('/') && !dir.is_empty() => Ok(Self {
                path: inside(path),
                dir: PathBuf::from(dir),
            }),
            Some(_) | None => Err("write /PATH:DIR, such as /work/out:./results".to_owned()),
        }
    }
}

/// A path in the VM, without the slashes that people type at its end.
fn inside(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

impl fmt::Display for CopyIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--copy-in {}:{}", self.dir.display(), self.path)
    }
}

impl fmt::Display for CopyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--copy-out {}:{}", self.path, self.dir.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_and_a_path_are_named() {
        for (text, dir, path) in [
            ("in:/work", "in", "/work"),
            ("./a:b:/work/x/", "./a:b", "/work/x"),
            ("/abs:/", "/abs", "/"),
        ] {
            let copy: CopyIn = text.parse().unwrap();
            assert_eq!((copy.dir, copy.path.as_str()), (PathBuf::from(dir), path));
        }
        for (text, path, dir) in [
            ("/work/out:out", "/work/out", "out"),
            ("/work/out/:/a:b", "/work/out", "/a:b"),
            ("/:.", "/", "."),
        ] {
            let copy: CopyOut = text.parse().unwrap();
            assert_eq!((copy.path.as_str(), copy.dir), (path, PathBuf::from(dir)));
        }
    }

    #[test]
    fn what_names_neither_is_refused() {
        for text in ["", "in", ":/work", "in:work", "in:"] {
            assert!(text.parse::<CopyIn>().is_err(), "{text:?}");
        }
        for text in ["", "/work", "/work:", ":out", "work:out"] {
            assert!(text.parse::<CopyOut>().is_err(), "{text:?}");
        }
    }
}
