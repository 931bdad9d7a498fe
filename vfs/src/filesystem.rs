//! One VM's filesystem as a whole: its budget, what it uses, what the host changes in it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::tree::Tree;
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
#[derive(Clone)]
pub struct Filesystem {
    shared: Arc<Shared>,
}

/// The tree, which every call works on alone.
pub(crate) struct Shared(Mutex<Tree>);

impl Shared {
    /// A panic elsewhere leaves the tree usable: every call checks first, then changes.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tree> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filesystem {
    /// The filesystem of a VM with these mounts.
    ///
    /// # Errors
    ///
    /// [`MountError`], where paths are not canonical, collide, or files exceed the budget.
    pub fn new(budget: Budget, mounts: &[Mount], now: Timestamp) -> Result<Self, MountError> {
        let tree = Tree::new(budget, mounts, now)?;
        let shared = Arc::new(Shared(Mutex::new(tree)));
        Ok(Self { shared })
    }

    /// True where nothing is mounted: the guest then gets no directory at all.
    pub fn is_empty(&self) -> bool {
        self.shared.lock().is_empty()
    }

    /// The directory `/`.
    pub fn root(&self) -> Node {
        let root = self.shared.lock().root();
        Node::new(&self.shared, root)
    }

    /// Gives the mount at `path` other files, in one step. Files that are open stay as they were.
    ///
    /// # Errors
    ///
    /// [`MountError`]; the old files stay then.
    pub fn swap(&self, path: &str, files: &Files, now: Timestamp) -> Result<(), MountError> {
        self.shared.lock().swap(path, files, now)
    }

    /// What is held, and what was done.
    pub fn usage(&self) -> Usage {
        self.shared.lock().usage()
    }

    /// The most that may be held.
    pub fn budget(&self) -> Budget {
        self.shared.lock().budget()
    }

    /// Steps worked since this was last called: names resolved, entries looked at, blocks made.
    /// One step is about 100 ns of a processor; bytes copied are not in it.
    pub fn take_work(&self) -> u64 {
        self.shared.lock().take_work()
    }

    /// Lets files grow, or not.
    pub fn set_growth(&self, growth: Growth) {
        self.shared.lock().set_growth(growth);
    }

    /// Recounts everything, and says what does not hold: for tests. It takes as long as all that
    /// is held.
    #[doc(hidden)]
    pub fn faults(&self) -> Vec<String> {
        self.shared.lock().faults()
    }
}

impl std::fmt::Debug for Filesystem {
    /// Without any name or content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filesystem").finish_non_exhaustive()
    }
}
