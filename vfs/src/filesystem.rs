//! One VM's filesystem as a whole: its budget, what it uses, what the host changes in it.

use crate::{Files, Mount, MountError, Node, Timestamp};

/// The most that a VM may hold in all its mounts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Bytes: file content as it is held, names, link targets, and a fixed cost for each inode
    /// and each name.
    pub bytes: u64,
    /// Inodes of every kind, unlinked ones that are still open included.
    pub inodes: u64,
}

/// What a VM holds, and what it did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes held now.
    pub bytes: u64,
    /// Inodes held now.
    pub inodes: u64,
    /// The most bytes held at once.
    pub peak_bytes: u64,
    /// Calls that succeeded.
    pub operations: u64,
    /// Calls refused because the budget or a mount's size limit is used up.
    pub refused_by_quota: u64,
    /// Calls refused because the host has no memory, or refuses growth.
    pub refused_by_host: u64,
    /// Calls refused for any other reason.
    pub errors: u64,
}

/// Whether the host lets a VM's files grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Growth {
    /// Up to the budget.
    #[default]
    Allowed,
    /// Not at all: the node is short of memory. What would grow is `ENOSPC`.
    Refused,
}

/// One VM's filesystem. Clones are the same filesystem; it is freed with the last clone and the
/// last [`Node`].
#[derive(Clone, Debug)]
pub struct Filesystem(());

impl Filesystem {
    /// The filesystem of a VM with these mounts.
    ///
    /// # Errors
    ///
    /// [`MountError`], where paths are not canonical, collide, or files exceed the budget.
    pub fn new(_budget: Budget, _mounts: &[Mount], _now: Timestamp) -> Result<Self, MountError> {
        Ok(Self(()))
    }

    /// True where nothing is mounted: the guest then gets no directory at all.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// The directory `/`.
    pub fn root(&self) -> Node {
        Node::new()
    }

    /// Gives the mount at `path` other files, in one step. Files that are open stay as they were.
    ///
    /// # Errors
    ///
    /// [`MountError`]; the old files stay then.
    pub fn swap(&self, _path: &str, _files: &Files, _now: Timestamp) -> Result<(), MountError> {
        Ok(())
    }

    /// What is held, and what was done.
    pub fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Steps worked since this was last called: names resolved, entries looked at, blocks made.
    /// One step is about 100 ns of a processor; bytes copied are not in it.
    pub fn take_work(&self) -> u64 {
        0
    }

    /// Lets files grow, or not.
    pub fn set_growth(&self, _growth: Growth) {}
}
