//! What a VM is given to see: its mounts.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{MAX_NAME_BYTES, MAX_PATH_BYTES};

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where: absolute and canonical, such as `/` or `/work/config`.
    pub path: String,
    /// Whether the guest may change it. [`Source::Files`] never can be changed.
    pub access: Access,
    /// What it holds.
    pub source: Source,
}

/// Whether a mount can be changed by the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Every call that would change anything is refused with `EROFS`.
    #[default]
    ReadOnly,
    /// It can be changed.
    ReadWrite,
}

/// What a mount holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nothing at first.
    Empty {
        /// The most bytes it may hold, beside the VM's own budget.
        max_bytes: Option<u64>,
    },
    /// The files of a `ConfigMap` or a Secret, laid out as the kubelet does it: every name is a
    /// symbolic link through `..data`, so that all of them change in one step.
    Files(Files),
}

/// Files by their path below the mount, such as `app.conf` or `tls/key.pem`.
pub type Files = BTreeMap<String, File>;

/// One file of a `ConfigMap` or a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Its content. Shared: the guest can't change it.
    pub data: Arc<[u8]>,
    /// Its permission bits. Without the owner's read bit (0400) it can't be opened.
    pub mode: u16,
}

impl std::fmt::Debug for File {
    /// Without the content, which may be a Secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File")
            .field("bytes", &self.data.len())
            .field("mode", &format_args!("{:#o}", self.mode))
            .finish()
    }
}

/// Why mounts can't be made, or a mount can't be given other files. Nothing has changed then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MountError {
    /// The path is not absolute and canonical, or has a name that is too long.
    #[error(
        "mount path {path:?} must be absolute, without . or .. or //, each name at most 255 bytes"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// Two mounts at one place.
    #[error("mount path {path:?} is named twice")]
    Twice {
        /// The path.
        path: String,
    },
    /// A mount lies below a name that a mount's files take.
    #[error("mount path {path:?} lies below or over a file of another mount")]
    Covered {
        /// The path.
        path: String,
    },
    /// More mounts than [`crate::MAX_MOUNTS`].
    #[error("{count} mounts, a VM has at most {}", crate::MAX_MOUNTS)]
    TooMany {
        /// How many.
        count: usize,
    },
    /// The path of a file is not relative and canonical, or begins with `..`.
    #[error("file {file:?} of mount {path:?} must be a relative path without . or .. or //")]
    File {
        /// The mount's path.
        path: String,
        /// The file's.
        file: String,
    },
    /// The files need more than the VM's budget.
    #[error(
        "the files of mount {path:?} need {needed} bytes in {inodes} inodes, limits.storage and limits.inodes leave {left} bytes and {inodes_left} inodes"
    )]
    NoSpace {
        /// The mount's path.
        path: String,
        /// Bytes needed.
        needed: u64,
        /// Inodes needed.
        inodes: u64,
        /// Bytes that are left.
        left: u64,
        /// Inodes that are left.
        inodes_left: u64,
    },
    /// No mount with files is at this path.
    #[error("no mount of files is at {path:?}")]
    NotFiles {
        /// The path.
        path: String,
    },
}

/// Whether the path of a mount is absolute and canonical, and short enough.
pub(crate) fn canonical(path: &str) -> bool {
    match path.strip_prefix('/') {
        Some("") => true,
        Some(names) => path.len() <= MAX_PATH_BYTES && names.split('/').all(is_name),
        None => false,
    }
}

/// Whether the path of a file is relative and canonical, and does not begin with `..`.
pub(crate) fn canonical_file(path: &str) -> bool {
    !path.starts_with("..") && path.len() <= MAX_PATH_BYTES && path.split('/').all(is_name)
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..") && name.len() <= MAX_NAME_BYTES && !name.contains('\0')
}
