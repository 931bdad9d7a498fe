//! An open reference to a file, directory or link, and everything that can be done with it.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::filesystem::Shared;
use crate::tree::{Ino, Tree};
use crate::{Error, Kind, Metadata, SetTime, Timestamp};

/// Whether the last name of a path is followed where it is a symbolic link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// It is.
    Yes,
    /// It is not: the link itself is meant. A trailing slash follows all the same.
    No,
}

/// How a path is opened. The default opens what is there, to be read.
#[expect(
    clippy::struct_excessive_bools,
    reason = "the flags of open(2), by their names"
)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// `O_CREAT`: makes a file where there is none.
    pub create: bool,
    /// `O_EXCL`: with `create`, `EEXIST` where there is anything, a dangling link included.
    pub exclusive: bool,
    /// `O_DIRECTORY`: `ENOTDIR` unless it is one.
    pub directory: bool,
    /// `O_TRUNC`: empties a file.
    pub truncate: bool,
    /// It shall be written: `EROFS` on a read-only mount, `EISDIR` for a directory.
    pub write: bool,
    /// Its content shall be read: `EACCES` where the file's mode does not allow it.
    pub read: bool,
}

/// One name of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name; `.` and `..` come first.
    pub name: &'a str,
    /// What it names.
    pub kind: Kind,
    /// Number of what it names.
    pub inode: u64,
    /// Where to go on after it: stays valid while the directory changes.
    pub next: u64,
}

/// An open reference. Cloning it opens the same node once more; paths are relative to it.
///
/// A path never leads out of the directory it starts from: `..` above it, an absolute path, and
/// a link that leads out are [`Error::NotPermitted`], as WASI has it. From [`crate::Filesystem::root`]
/// an absolute link target is resolved from the virtual root.
pub struct Node {
    shared: Arc<Shared>,
    ino: Ino,
    kind: Kind,
}

impl Node {
    pub(crate) fn new(shared: &Arc<Shared>, ino: Ino) -> Self {
        let mut tree = shared.lock();
        tree.retain(ino);
        let kind = tree.kind(ino);
        drop(tree);
        Self {
            shared: Arc::clone(shared),
            ino,
            kind,
        }
    }

    /// One call, counted by how it ends.
    fn call<T>(&self, work: impl FnOnce(&mut Tree) -> Result<T, Error>) -> Result<T, Error> {
        self.shared.lock().call(work)
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// True where both are the same node.
    pub fn is_same(&self, other: &Node) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared) && self.ino == other.ino
    }

    /// What can be known of it.
    pub fn metadata(&self) -> Metadata {
        let metadata = self.call(|tree| tree.metadata(self.ino));
        // A node's inode lives as long as the node.
        metadata.unwrap_or(Metadata {
            kind: self.kind,
            device: 0,
            inode: 0,
            links: 0,
            size: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        })
    }

    /// Sets its times.
    pub fn set_times(
        &self,
        accessed: SetTime,
        modified: SetTime,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.call(|tree| tree.set_times(self.ino, accessed, modified, now))
    }

    /// Copies bytes from `offset` on into `buffer`; 0 at or behind the end. `EISDIR` for a directory.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.call(|tree| tree.read(self.ino, offset, buffer))
    }

    /// Writes at `offset`, as many bytes as there is room for, at least one.
    ///
    /// A gap before `offset` reads as zeros and costs nothing. `ENOSPC`, `EDQUOT` or `EFBIG`
    /// where not one byte fits.
    pub fn write_at(&self, offset: u64, bytes: &[u8], now: Timestamp) -> Result<usize, Error> {
        self.call(|tree| tree.write(self.ino, offset, bytes, now))
    }

    /// Writes at the end in one step, and says how much and where the end is then.
    pub fn append(&self, bytes: &[u8], now: Timestamp) -> Result<(usize, u64), Error> {
        self.call(|tree| tree.append(self.ino, bytes, now))
    }

    /// Cuts or extends a file. `EFBIG` above what the volume could ever hold.
    pub fn set_size(&self, size: u64, now: Timestamp) -> Result<(), Error> {
        self.call(|tree| tree.set_size(self.ino, size, now))
    }

    /// `posix_fallocate`: the range is there, and paid for, or nothing has changed.
    pub fn allocate(&self, offset: u64, bytes: u64, now: Timestamp) -> Result<(), Error> {
        self.call(|tree| tree.allocate(self.ino, offset, bytes, now))
    }

    /// The target of a link that is open itself. `EINVAL` where it is none.
    pub fn read_link(&self) -> Result<String, Error> {
        self.call(|tree| tree.read_link(self.ino))
    }

    /// Calls `each` for every entry after `cookie` (0 is the start) until it breaks.
    ///
    /// What is there all the while is told exactly once, whatever is added or removed meanwhile.
    /// `each` runs inside the call: it must not use this filesystem. Of a directory that was
    /// removed nothing is told.
    pub fn read_dir(
        &self,
        cookie: u64,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        self.call(|tree| tree.list(self.ino, cookie, each))
    }

    /// Opens what `path` names.
    pub fn open(
        &self,
        path: &str,
        follow: Follow,
        how: Open,
        now: Timestamp,
    ) -> Result<Node, Error> {
        self.call(|tree| {
            let ino = tree.open(self.ino, path, follow, how, now)?;
            tree.retain(ino);
            Ok(Self {
                shared: Arc::clone(&self.shared),
                ino,
                kind: tree.kind(ino),
            })
        })
    }

    /// What can be known of what `path` names.
    pub fn metadata_of(&self, path: &str, follow: Follow) -> Result<Metadata, Error> {
        self.call(|tree| {
            let ino = tree.existing(self.ino, path, follow)?;
            tree.metadata(ino)
        })
    }

    /// Sets the times of what `path` names.
    pub fn set_times_of(
        &self,
        path: &str,
        follow: Follow,
        accessed: SetTime,
        modified: SetTime,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.call(|tree| {
            let ino = tree.existing(self.ino, path, follow)?;
            tree.set_times(ino, accessed, modified, now)
        })
    }

    /// The target of the link that `path` names.
    pub fn read_link_of(&self, path: &str) -> Result<String, Error> {
        self.call(|tree| {
            let ino = tree.existing(self.ino, path, Follow::No)?;
            tree.read_link(ino)
        })
    }

    /// `mkdirat`.
    pub fn create_directory(&self, path: &str, now: Timestamp) -> Result<(), Error> {
        self.call(|tree| tree.create_directory(self.ino, path, now))
    }

    /// `unlinkat` with `AT_REMOVEDIR`.
    pub fn remove_directory(&self, path: &str, now: Timestamp) -> Result<(), Error> {
        self.call(|tree| tree.remove_directory(self.ino, path, now))
    }

    /// `unlinkat`. `EISDIR` for a directory.
    pub fn unlink(&self, path: &str, now: Timestamp) -> Result<(), Error> {
        self.call(|tree| tree.unlink(self.ino, path, now))
    }

    /// `renameat`: replaces what `to` names as Linux does.
    pub fn rename(
        &self,
        path: &str,
        to: &Node,
        to_path: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.call(|tree| {
            self.same_filesystem(to)?;
            tree.rename((self.ino, path), (to.ino, to_path), now)
        })
    }

    /// `linkat`: another name for a file or a link. `EPERM` for a directory.
    pub fn link(
        &self,
        path: &str,
        follow: Follow,
        to: &Node,
        to_path: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.call(|tree| {
            self.same_filesystem(to)?;
            tree.link((self.ino, path, follow), (to.ino, to_path), now)
        })
    }

    /// `symlinkat`: `target` is kept as it is written and resolved when it is used.
    pub fn symlink(&self, target: &str, path: &str, now: Timestamp) -> Result<(), Error> {
        self.call(|tree| tree.symlink(target, self.ino, path, now))
    }

    /// Two filesystems are never on one mount.
    fn same_filesystem(&self, other: &Node) -> Result<(), Error> {
        if Arc::ptr_eq(&self.shared, &other.shared) {
            Ok(())
        } else {
            Err(Error::CrossDevice)
        }
    }
}

impl Clone for Node {
    fn clone(&self) -> Self {
        self.shared.lock().retain(self.ino);
        Self {
            shared: Arc::clone(&self.shared),
            ino: self.ino,
            kind: self.kind,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shared.lock().release(self.ino);
    }
}

impl std::fmt::Debug for Node {
    /// Without any name or content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("kind", &self.kind)
            .field("inode", &self.ino.number())
            .finish_non_exhaustive()
    }
}
