//! An open reference to a file, directory or link, and everything that can be done with it.

use std::ops::ControlFlow;

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
#[derive(Debug)]
pub struct Node(());

impl Node {
    pub(crate) fn new() -> Self {
        Self(())
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        Kind::Directory
    }

    /// True where both are the same node.
    pub fn is_same(&self, _other: &Node) -> bool {
        false
    }

    /// What can be known of it.
    pub fn metadata(&self) -> Metadata {
        Metadata {
            kind: Kind::Directory,
            device: 0,
            inode: 0,
            links: 0,
            size: 0,
            accessed: 0,
            modified: 0,
            changed: 0,
        }
    }

    /// Sets its times.
    pub fn set_times(
        &self,
        _accessed: SetTime,
        _modified: SetTime,
        _now: Timestamp,
    ) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// Copies bytes from `offset` on into `buffer`; 0 at or behind the end. `EISDIR` for a directory.
    pub fn read_at(&self, _offset: u64, _buffer: &mut [u8]) -> Result<usize, Error> {
        Ok(0)
    }

    /// Writes at `offset`, as many bytes as there is room for, at least one.
    ///
    /// A gap before `offset` reads as zeros and costs nothing. `ENOSPC`, `EDQUOT` or `EFBIG`
    /// where not one byte fits.
    pub fn write_at(&self, _offset: u64, _bytes: &[u8], _now: Timestamp) -> Result<usize, Error> {
        Err(Error::ReadOnly)
    }

    /// Writes at the end in one step, and says how much and where the end is then.
    pub fn append(&self, _bytes: &[u8], _now: Timestamp) -> Result<(usize, u64), Error> {
        Err(Error::ReadOnly)
    }

    /// Cuts or extends a file. `EFBIG` above what the volume could ever hold.
    pub fn set_size(&self, _size: u64, _now: Timestamp) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// `posix_fallocate`: the range is there, and paid for, or nothing has changed.
    pub fn allocate(&self, _offset: u64, _bytes: u64, _now: Timestamp) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// The target of a link that is open itself. `EINVAL` where it is none.
    pub fn read_link(&self) -> Result<String, Error> {
        Err(Error::Invalid)
    }

    /// Calls `each` for every entry after `cookie` (0 is the start) until it breaks.
    ///
    /// What is there all the while is told exactly once, whatever is added or removed meanwhile.
    pub fn read_dir(
        &self,
        _cookie: u64,
        _each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Opens what `path` names.
    pub fn open(
        &self,
        _path: &str,
        _follow: Follow,
        _how: Open,
        _now: Timestamp,
    ) -> Result<Node, Error> {
        Err(Error::NoEntry)
    }

    /// What can be known of what `path` names.
    pub fn metadata_of(&self, _path: &str, _follow: Follow) -> Result<Metadata, Error> {
        Err(Error::NoEntry)
    }

    /// Sets the times of what `path` names.
    pub fn set_times_of(
        &self,
        _path: &str,
        _follow: Follow,
        _accessed: SetTime,
        _modified: SetTime,
        _now: Timestamp,
    ) -> Result<(), Error> {
        Err(Error::NoEntry)
    }

    /// The target of the link that `path` names.
    pub fn read_link_of(&self, _path: &str) -> Result<String, Error> {
        Err(Error::NoEntry)
    }

    /// `mkdirat`.
    pub fn create_directory(&self, _path: &str, _now: Timestamp) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// `unlinkat` with `AT_REMOVEDIR`.
    pub fn remove_directory(&self, _path: &str, _now: Timestamp) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// `unlinkat`. `EISDIR` for a directory.
    pub fn unlink(&self, _path: &str, _now: Timestamp) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// `renameat`: replaces what `to` names as Linux does.
    pub fn rename(
        &self,
        _path: &str,
        _to: &Node,
        _to_path: &str,
        _now: Timestamp,
    ) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// `linkat`: another name for a file or a link. `EPERM` for a directory.
    pub fn link(
        &self,
        _path: &str,
        _follow: Follow,
        _to: &Node,
        _to_path: &str,
        _now: Timestamp,
    ) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }

    /// `symlinkat`: `target` is kept as it is written and resolved when it is used.
    pub fn symlink(&self, _target: &str, _path: &str, _now: Timestamp) -> Result<(), Error> {
        Err(Error::ReadOnly)
    }
}

impl Clone for Node {
    fn clone(&self) -> Self {
        Self(())
    }
}
