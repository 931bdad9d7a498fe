//! The filesystems that scripts run on.

use agentvm_runtime::vfs::{Access, Budget, File, Files, Filesystem, Mount, Source};

/// A directory of the guest's own.
pub(in crate::files) fn empty(path: &str) -> Mount {
    Mount {
        path: path.to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    }
}

/// A mount of a `ConfigMap`'s files.
pub(in crate::files) fn files(path: &str, files: &[(&str, &str)]) -> Mount {
    Mount {
        path: path.to_owned(),
        access: Access::ReadOnly,
        source: Source::Files(content(files)),
    }
}

pub(in crate::files) fn content(files: &[(&str, &str)]) -> Files {
    let file = |data: &str| File {
        data: data.as_bytes().into(),
        mode: 0o644,
    };
    files
        .iter()
        .map(|(name, data)| ((*name).to_owned(), file(data)))
        .collect()
}

/// These mounts under a generous budget.
pub(in crate::files) fn mounted(mounts: &[Mount]) -> Filesystem {
    limited(16 << 20, 100_000, mounts)
}

pub(in crate::files) fn limited(bytes: u64, inodes: u64, mounts: &[Mount]) -> Filesystem {
    Filesystem::new(Budget { bytes, inodes }, mounts, 1_000).unwrap()
}

/// One writable directory at `/work`.
pub(crate) fn work() -> Filesystem {
    mounted(&[empty("/work")])
}
