//! From an archive into a folder of this machine. The archive is a guest's: every name is made
//! new in a directory that this module itself has made, and no link is ever followed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use agentvm_cell::archive::{Item, Kind, ReadError, read};
use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, Timespec, Timestamps, futimens, linkat, mkdirat, openat,
    symlinkat,
};
use rustix::io::Errno;

use super::guards::{Guard, is_on};

/// Why a folder can't be filled.
#[derive(Debug, thiserror::Error)]
pub(in crate::run) enum ScatterError {
    /// There is something in it.
    #[error("{dir} is not empty: name an empty folder, or one that is not there")]
    NotEmpty {
        /// The folder.
        dir: String,
    },
    /// It is no folder, or can't be used.
    #[error("{dir} can't be used: {cause}")]
    Folder {
        /// The folder.
        dir: String,
        /// What the system says.
        cause: io::Error,
    },
    /// The archive.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A path that leads through something else than directories.
    #[error("{path:?} leads through a link or a file: it is not written")]
    Through {
        /// The path.
        path: String,
    },
    /// Another name for something that is not a file of the same archive.
    #[error("{path:?} is another name of {to:?}, which is no file before it: it is not written")]
    StrayLink {
        /// The path.
        path: String,
        /// What it should name.
        to: String,
    },
    /// The system refuses it.
    #[error("{path:?} can't be written: {cause}")]
    Write {
        /// The path.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
}

/// Checks that `dir` can be filled: it is empty, or not there.
pub(super) fn check(dir: &Path) -> Result<(), ScatterError> {
    let shown = || dir.display().to_string();
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ScatterError::NotEmpty { dir: shown() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(ScatterError::Folder {
            dir: shown(),
            cause,
        }),
    }
}

/// Unpacks `archive` into `dir`, which is made where it is not there.
pub(super) fn scatter(mut archive: &File, dir: &Path) -> Result<(), ScatterError> {
    let folder = |cause: io::Error| ScatterError::Folder {
        dir: dir.display().to_string(),
        cause,
    };
    archive.rewind().map_err(folder)?;
    std::fs::create_dir_all(dir).map_err(folder)?;
    // The folder itself may be a link: the user named it.
    let top = openat(
        CWD,
        dir,
        DIRECTORY.difference(OFlags::NOFOLLOW),
        Mode::empty(),
    );
    let top = top.map_err(|errno| folder(errno.into()))?;
    let empty = is_empty(&top).map_err(|errno| folder(errno.into()))?;
    if !empty && is_on(Guard::NewFiles) {
        let dir = dir.display().to_string();
        return Err(ScatterError::NotEmpty { dir });
    }
    let mut filled = Filled {
        top,
        files: BTreeSet::new(),
    };
    read(
        io::BufReader::with_capacity(1 << 20, archive),
        |item, content| filled.put(&item, content),
    )
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// `flags` as they are: only a test that switches the guards off opens in another way.
fn guarded(flags: OFlags) -> OFlags {
    let mut flags = flags;
    if !is_on(Guard::NoFollow) {
        flags.remove(OFlags::NOFOLLOW);
    }
    if !is_on(Guard::NewFiles) {
        flags.remove(OFlags::EXCL);
    }
    flags
}

fn is_empty(dir: &OwnedFd) -> Result<bool, Errno> {
    for entry in Dir::read_from(dir)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A folder that is being filled.
struct Filled {
    top: OwnedFd,
    /// What was written as a file.
    files: BTreeSet<String>,
}

impl Filled {
    fn put(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), ScatterError> {
        let path = item.path.as_str();
        let failed = |errno: Errno| ScatterError::Write {
            path: path.to_owned(),
            cause: errno.into(),
        };
        let (parent, name) = self.parent(path, path)?;
        match &item.kind {
            Kind::Directory => {
                mkdirat(&parent, name, Mode::from_bits_retain(0o777)).map_err(failed)
            }
            Kind::Symlink { target } => symlinkat(target, &parent, name).map_err(failed),
            Kind::HardLink { to } => {
                if !self.files.contains(to) {
                    return Err(ScatterError::StrayLink {
                        path: path.to_owned(),
                        to: to.clone(),
                    });
                }
                let (first_parent, first) = self.parent(to, path)?;
                linkat(&first_parent, first, &parent, name, AtFlags::empty()).map_err(failed)
            }
            Kind::File { bytes } => {
                let file = openat(
                    &parent,
                    name,
                    guarded(NEW_FILE),
                    Mode::from_bits_retain(0o666),
                );
                self.files.insert(path.to_owned());
                fill(File::from(file.map_err(failed)?), item, *bytes, content)
            }
        }
    }

    /// The directory that a path is in, and the path's last name. Directories come before what
    /// is in them.
    fn parent<'a>(&self, path: &'a str, of: &str) -> Result<(OwnedFd, &'a str), ScatterError> {
        let failed = |errno: Errno| match errno {
            Errno::NOTDIR | Errno::LOOP => ScatterError::Through {
                path: of.to_owned(),
            },
            errno => ScatterError::Write {
                path: of.to_owned(),
                cause: errno.into(),
            },
        };
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut parent = openat(&self.top, ".", DIRECTORY, Mode::empty()).map_err(failed)?;
        for name in directory.split('/').filter(|name| !name.is_empty()) {
            parent = openat(&parent, name, guarded(DIRECTORY), Mode::empty()).map_err(failed)?;
        }
        Ok((parent, name))
    }
}

fn fill(
    mut file: File,
    item: &Item,
    bytes: u64,
    content: &mut dyn Read,
) -> Result<(), ScatterError> {
    let failed = |cause| ScatterError::Write {
        path: item.path.clone(),
        cause,
    };
    let written = io::copy(content, &mut file).map_err(failed)?;
    if written != bytes {
        return Err(ReadError::CutShort.into());
    }
    let time = Timespec {
        tv_sec: i64::try_from(item.modified_unix_s).unwrap_or(i64::MAX),
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    // A time that this machine's filesystem can't hold is no reason to lose the file.
    let _unless_it_cannot = futimens(&file, &times);
    Ok(())
}

#[cfg(test)]
mod tests;
