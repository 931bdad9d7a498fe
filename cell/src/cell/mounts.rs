//! From the mounts of a request to a filesystem: every digest is checked before anything is made.

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::mounts::{FileContent, Files, Mount, MountSource, digest};
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_runtime::vfs::{self, Access, Budget, Filesystem, MountError, Source, Timestamp};

/// Now, as files keep it.
pub(super) fn now() -> Timestamp {
    u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(0)
}

/// Checks that files and digests belong together, wherever a request brings files.
///
/// Hashes all of them: not for the thread that answers requests, where they are many.
pub(super) fn verify(mounts: &[Mount]) -> Result<(), Problem> {
    for mount in mounts {
        if let MountSource::Files {
            sha256,
            files: Some(files),
        } = &mount.source
            && digest(files) != *sha256
        {
            return Err(invalid(format!(
                "the files of mount {:?} do not have the SHA-256 that the request names for them",
                mount.path
            )));
        }
    }
    Ok(())
}

/// The filesystem of a VM that is about to start.
pub(super) fn filesystem(spec: &VmSpec, now: Timestamp) -> Result<Filesystem, Problem> {
    let limits = spec.grants.limits;
    let budget = Budget {
        bytes: limits.storage_bytes,
        inodes: limits.inodes,
    };
    let mounts = spec
        .mounts
        .iter()
        .map(mount)
        .collect::<Result<Vec<_>, _>>()?;
    Filesystem::new(budget, &mounts, now).map_err(|error| refused(&error))
}

/// Gives the mount at `path` other files; the old ones stay where that fails.
pub(super) fn swap(
    filesystem: &Filesystem,
    path: &str,
    files: &Files,
    now: Timestamp,
) -> Result<(), Problem> {
    filesystem
        .swap(path, &contents(files), now)
        .map_err(|error| refused(&error))
}

/// That a mount's files are missing.
pub(super) fn without_files(path: &str) -> Problem {
    invalid(format!(
        "the request names the digest of other files for mount {path:?}, and does not bring them"
    ))
}

fn mount(mount: &Mount) -> Result<vfs::Mount, Problem> {
    let Mount {
        path,
        read_only,
        source,
    } = mount;
    let (access, source) = match source {
        MountSource::EmptyDir {
            size_limit_bytes,
            archive: _,
        } => {
            let access = if *read_only {
                Access::ReadOnly
            } else {
                Access::ReadWrite
            };
            let max_bytes = *size_limit_bytes;
            (access, Source::Empty { max_bytes })
        }
        MountSource::Files {
            sha256: _,
            files: Some(files),
        } => (Access::ReadOnly, Source::Files(contents(files))),
        MountSource::Files {
            sha256: _,
            files: None,
        } => return Err(without_files(path)),
    };
    Ok(vfs::Mount {
        path: path.clone(),
        access,
        source,
    })
}

fn contents(files: &Files) -> vfs::Files {
    let file = |(path, content): (&String, &FileContent)| {
        let FileContent { mode, data } = content.clone();
        (path.clone(), vfs::File { data, mode })
    };
    files.iter().map(file).collect()
}

fn refused(error: &MountError) -> Problem {
    let reason = if matches!(error, MountError::NoSpace { .. }) {
        Reason::NoSpace
    } else {
        Reason::InvalidMounts
    };
    Problem {
        reason,
        message: error.to_string(),
    }
}

fn invalid(message: String) -> Problem {
    Problem {
        reason: Reason::InvalidMounts,
        message,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn files(text: &str) -> Files {
        let content = FileContent {
            mode: 0o400,
            data: text.as_bytes().into(),
        };
        BTreeMap::from([("key".to_owned(), content)])
    }

    fn mounted(sha256: String, files: Option<Files>) -> Mount {
        Mount {
            path: "/etc/heron".to_owned(),
            read_only: true,
            source: MountSource::Files { sha256, files },
        }
    }

    #[test]
    fn files_that_are_not_the_ones_of_the_digest_are_refused() {
        let good = mounted(digest(&files("a")), Some(files("a")));
        assert_eq!(verify(&[good]), Ok(()));
        let bad = mounted(digest(&files("a")), Some(files("b")));
        let refused = verify(&[bad]).unwrap_err();
        assert_eq!(refused.reason, Reason::InvalidMounts);
        assert!(refused.message.contains("/etc/heron"), "{refused}");
    }

    #[test]
    fn a_start_without_files_is_refused_and_a_digest_alone_needs_no_check() {
        let echoed = mounted(digest(&files("a")), None);
        assert_eq!(verify(std::slice::from_ref(&echoed)), Ok(()));
        assert_eq!(mount(&echoed).unwrap_err().reason, Reason::InvalidMounts);
    }

    #[test]
    fn only_an_empty_directory_can_be_writable() {
        let writable = |read_only| Mount {
            path: "/work".to_owned(),
            read_only,
            source: MountSource::EmptyDir {
                size_limit_bytes: Some(7),
                archive: None,
            },
        };
        assert_eq!(mount(&writable(false)).unwrap().access, Access::ReadWrite);
        assert_eq!(mount(&writable(true)).unwrap().access, Access::ReadOnly);
        let mut files = mounted(digest(&files("a")), Some(files("a")));
        files.read_only = false;
        assert_eq!(mount(&files).unwrap().access, Access::ReadOnly);
    }
}
