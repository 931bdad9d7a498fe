//! From a folder of this machine into an archive. Nothing outside the folder is ever read: each
//! name is opened in the directory it was found in, and no link is followed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use agentvm_cell::archive::{
    Item, Kind, MAX_ARCHIVE_BYTES, NameError, WriteError, Writer, check_path,
};
use agentvm_policy::{Limits, human};
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat,
};
use rustix::io::Errno;

use super::guards::{Guard, is_on};

/// Why a folder can't be copied in.
#[derive(Debug, thiserror::Error)]
pub(in crate::run) enum GatherError {
    /// The folder or something in it can't be read.
    #[error("cannot read {path:?}: {cause}")]
    Read {
        /// What can't be read, from the folder on.
        path: String,
        /// What the system says.
        cause: Errno,
    },
    /// A name that no file in a VM can have.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A device, a socket or a FIFO.
    #[error("{path:?} is {what}: only directories, files and links can be copied in")]
    Special {
        /// Its path from the folder on.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// More than the VM may hold.
    #[error("the folder holds more than the VM's {field} of {most}: raise it, or copy less")]
    TooMuch {
        /// The field to raise.
        field: &'static str,
        /// Its value.
        most: String,
    },
    /// More than an archive may hold.
    #[error("the folder holds more than {} MiB", MAX_ARCHIVE_BYTES >> 20)]
    TooLarge,
    /// The archive can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What may still be copied in. The cell counts exactly; this saves reading what it would refuse.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    limits: Limits,
    bytes: u64,
    inodes: u64,
}

impl Bounds {
    pub(super) fn of(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            bytes: 0,
            inodes: 0,
        }
    }

    fn count(&mut self, bytes: u64) -> Result<(), GatherError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.inodes += 1;
        if self.bytes > self.limits.storage_bytes {
            return Err(GatherError::TooMuch {
                field: "spec.limits.storage",
                most: human::bytes(self.limits.storage_bytes),
            });
        }
        if self.inodes > self.limits.inodes {
            return Err(GatherError::TooMuch {
                field: "spec.limits.inodes",
                most: self.limits.inodes.to_string(),
            });
        }
        let headers = self.inodes.saturating_mul(1024);
        if self.bytes.saturating_add(headers) > MAX_ARCHIVE_BYTES {
            return Err(GatherError::TooLarge);
        }
        Ok(())
    }
}

/// A directory that is being read.
struct Open {
    fd: OwnedFd,
    /// From the folder on; empty for the folder itself.
    path: String,
    /// What is still to come, last first.
    names: Vec<Vec<u8>>,
}

/// Adds everything in `dir`, below `below`.
pub(super) fn gather<W: Write>(
    dir: &Path,
    below: &str,
    writer: &mut Writer<W>,
    bounds: &mut Bounds,
) -> Result<(), GatherError> {
    let top = openat(
        CWD,
        dir,
        DIRECTORY.difference(OFlags::NOFOLLOW),
        Mode::empty(),
    );
    let top = top.map_err(|cause| GatherError::Read {
        path: dir.display().to_string(),
        cause,
    })?;
    parents(below, writer)?;
    let mut open = vec![listed(top, String::new())?];
    while let Some(last) = open.last_mut() {
        let Some(name) = last.names.pop() else {
            open.pop();
            continue;
        };
        if let Some(entered) = add(last, &name, below, writer, bounds)? {
            open.push(entered);
        }
    }
    Ok(())
}

/// The directories that lead to where the content goes.
fn parents<W: Write>(below: &str, writer: &mut Writer<W>) -> Result<(), GatherError> {
    for (end, _) in below.match_indices('/').chain([(below.len(), "")]) {
        if let Some(path) = below.get(..end).filter(|path| !path.is_empty()) {
            let item = Item {
                path: path.to_owned(),
                kind: Kind::Directory,
                modified_unix_s: 0,
            };
            writer.add(&item, &mut std::io::empty())?;
        }
    }
    Ok(())
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Without waiting for the other end of what became a FIFO meanwhile.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// `flags` as they are: only a test that switches the guard off opens in another way.
fn guarded(flags: OFlags) -> OFlags {
    if is_on(Guard::NoFollow) {
        return flags;
    }
    flags.difference(OFlags::NOFOLLOW)
}

fn looking() -> AtFlags {
    if is_on(Guard::NoFollow) {
        AtFlags::SYMLINK_NOFOLLOW
    } else {
        AtFlags::empty()
    }
}

fn listed(fd: OwnedFd, path: String) -> Result<Open, GatherError> {
    let read = |cause| GatherError::Read {
        path: path.clone(),
        cause,
    };
    let mut names = Vec::new();
    for entry in Dir::read_from(&fd).map_err(read)? {
        let entry = entry.map_err(read)?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(name.to_vec());
        }
    }
    // The same folder makes the same archive.
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(Open { fd, path, names })
}

/// Adds one name; a directory is entered next.
fn add<W: Write>(
    parent: &Open,
    name: &[u8],
    below: &str,
    writer: &mut Writer<W>,
    bounds: &mut Bounds,
) -> Result<Option<Open>, GatherError> {
    let path = check_path(&joined(parent.path.as_bytes(), name))?;
    let read = |cause| GatherError::Read {
        path: path.clone(),
        cause,
    };
    let found = statat(&parent.fd, name, looking()).map_err(read)?;
    let mut item = Item {
        path: check_path(&joined(below.as_bytes(), path.as_bytes()))?,
        kind: Kind::Directory,
        modified_unix_s: modified(&found),
    };
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind == FileType::Directory {
        bounds.count(0)?;
        let fd = openat(&parent.fd, name, guarded(DIRECTORY), Mode::empty()).map_err(read)?;
        writer.add(&item, &mut std::io::empty())?;
        return listed(fd, path).map(Some);
    }
    if kind == FileType::Symlink {
        bounds.count(0)?;
        let target = readlinkat(&parent.fd, name, Vec::new()).map_err(read)?;
        let target = String::from_utf8(target.into_bytes())
            .map_err(|_why| NameError::NotUtf8(format!("that {path:?} links to")))?;
        item.kind = Kind::Symlink { target };
        writer.add(&item, &mut std::io::empty())?;
        return Ok(None);
    }
    if kind != FileType::RegularFile && is_on(Guard::SpecialFiles) {
        let what = described(kind);
        return Err(GatherError::Special { path, what });
    }
    let file = openat(&parent.fd, name, guarded(FILE), Mode::empty()).map_err(read)?;
    let found = fstat(file.as_fd()).map_err(read)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind != FileType::RegularFile && is_on(Guard::SpecialFiles) {
        let what = described(kind);
        return Err(GatherError::Special { path, what });
    }
    let bytes = u64::try_from(found.st_size).unwrap_or(0);
    bounds.count(bytes)?;
    item.kind = Kind::File { bytes };
    writer.add(&item, &mut File::from(file))?;
    Ok(None)
}

fn joined(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    [directory, slash, name].concat()
}

fn modified(found: &Stat) -> u64 {
    u64::try_from(found.st_mtime).unwrap_or(0)
}

fn described(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::RegularFile | FileType::Directory | FileType::Symlink | FileType::Unknown => {
            "of an unknown kind"
        }
    }
}

#[cfg(test)]
mod tests;
