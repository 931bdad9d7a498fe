//! From an archive into a mount: under the VM's quotas, by its name rules, never through a link.

use std::io::Read;
use std::sync::Arc;

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::mounts::MountSource;
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_runtime::vfs::{self, Filesystem, Follow, Node, Open, SetTime, Timestamp};

use crate::archive::{Item, Kind, ReadError, read};
use crate::cell::mounts::now;
use crate::cell::routes::Cell;
use crate::guards::{Guard, is_on};

/// Bytes that are copied at once.
const COPY_BYTES: usize = agentvm_policy::budget::ARCHIVE_COPY_BYTES.usize();

/// Why an archive can't be unpacked. The VM does not start then.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// The archive itself.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The filesystem takes it no more than it would from the guest.
    #[error("{path:?}: {error}{}", hint(*.error))]
    Refused {
        /// What was unpacked.
        path: String,
        /// What a guest would be told.
        error: vfs::Error,
    },
    /// A directory of its path is none.
    #[error("{path:?} leads through a link or a file of the same archive")]
    Through {
        /// What was unpacked.
        path: String,
    },
    /// The file is shorter than its header says.
    #[error("the archive is cut short in {path:?}")]
    CutShort {
        /// What was unpacked.
        path: String,
    },
}

fn hint(error: vfs::Error) -> &'static str {
    if error == vfs::Error::NoSpace {
        " (raise spec.limits.storage or spec.limits.inodes)"
    } else if error == vfs::Error::Quota {
        " (raise emptyDir.sizeLimit of the mount)"
    } else {
        ""
    }
}

/// Unpacks every archive that the VM's mounts name.
pub(in crate::cell) async fn unpack_all(
    cell: &Arc<Cell>,
    spec: &VmSpec,
    filesystem: &Filesystem,
) -> Result<(), Problem> {
    for mount in &spec.mounts {
        let MountSource::EmptyDir {
            archive: Some(name),
            ..
        } = &mount.source
        else {
            continue;
        };
        let archive = cell.archives.take(name)?;
        let (files, path) = (filesystem.clone(), mount.path.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let unpacked = unpack(&files, &path, archive, now());
            // The guest is not charged for what it did not ask for.
            files.take_work();
            unpacked.map_err(|error| refused(&path, &error))
        });
        unpacking.await.map_err(|error| Problem {
            reason: Reason::Internal,
            message: format!("unpacking failed: {error}"),
        })??;
    }
    Ok(())
}

fn refused(mount: &str, error: &UnpackError) -> Problem {
    let reason = match error {
        UnpackError::Refused {
            error:
                vfs::Error::NoSpace
                | vfs::Error::Quota
                | vfs::Error::FileTooLarge
                | vfs::Error::NoMemory,
            ..
        } => Reason::NoSpace,
        UnpackError::Read(_)
        | UnpackError::Refused { .. }
        | UnpackError::Through { .. }
        | UnpackError::CutShort { .. } => Reason::InvalidMounts,
    };
    Problem {
        reason,
        message: format!("the archive for {mount:?} can't be unpacked: {error}"),
    }
}

/// Unpacks an archive at `mount`.
pub(super) fn unpack(
    filesystem: &Filesystem,
    mount: &str,
    source: impl Read,
    now: Timestamp,
) -> Result<(), UnpackError> {
    let top = match mount.trim_start_matches('/') {
        "" => Ok(filesystem.root()),
        path => filesystem.root().open(path, Follow::No, DIRECTORY, now),
    };
    let top = top.map_err(|error| UnpackError::Refused {
        path: mount.to_owned(),
        error,
    })?;
    let mut place = Place {
        last: (String::new(), top.clone()),
        top,
        now,
        buffer: vec![0; COPY_BYTES],
    };
    read(source, |item, content| place.put(&item, content))
}

const DIRECTORY: Open = Open {
    create: false,
    exclusive: false,
    directory: true,
    truncate: false,
    write: false,
    read: false,
};

const NEW_FILE: Open = Open {
    create: true,
    exclusive: true,
    directory: false,
    truncate: false,
    write: true,
    read: false,
};

/// Where an archive is unpacked.
struct Place {
    top: Node,
    /// The directory that was used last, by its path.
    last: (String, Node),
    now: Timestamp,
    buffer: Vec<u8>,
}

impl Place {
    fn put(&mut self, item: &Item, content: &mut dyn Read) -> Result<(), UnpackError> {
        let path = item.path.as_str();
        let refused = |error| UnpackError::Refused {
            path: path.to_owned(),
            error,
        };
        let (parent, name) = self.parent(path)?;
        match &item.kind {
            Kind::Directory => self.directory(&parent, name, path).map(drop),
            Kind::Symlink { target } => parent.symlink(target, name, self.now).map_err(refused),
            Kind::HardLink { to } => {
                let (from, first) = self.parent(to)?;
                from.link(first, Follow::No, &parent, name, self.now)
                    .map_err(refused)
            }
            Kind::File { bytes } => {
                let file = parent.open(name, Follow::No, NEW_FILE, self.now);
                let file = file.map_err(refused)?;
                self.fill(&file, path, *bytes, content)?;
                let modified = item.modified_unix_s.saturating_mul(1_000_000_000);
                file.set_times(SetTime::Keep, SetTime::At(modified), self.now)
                    .map_err(refused)
            }
        }
    }

    /// The directory that a path is in, made where it is not there, and the path's last name.
    fn parent<'a>(&mut self, path: &'a str) -> Result<(Node, &'a str), UnpackError> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.last.0 != directory {
            let mut node = self.top.clone();
            for name in directory.split('/').filter(|name| !name.is_empty()) {
                node = self.directory(&node, name, path)?;
            }
            self.last = (directory.to_owned(), node);
        }
        Ok((self.last.1.clone(), name))
    }

    /// One directory, made where it is not there; a link is never followed.
    fn directory(&self, parent: &Node, name: &str, path: &str) -> Result<Node, UnpackError> {
        let refused = |error| UnpackError::Refused {
            path: path.to_owned(),
            error,
        };
        match parent.create_directory(name, self.now) {
            // What is there may be a mount, which is read-only or not.
            Ok(()) | Err(vfs::Error::Exists | vfs::Error::ReadOnly) => {}
            Err(error) => return Err(refused(error)),
        }
        let follow = if is_on(Guard::UnpackNoFollow) {
            Follow::No
        } else {
            Follow::Yes
        };
        match parent.open(name, follow, DIRECTORY, self.now) {
            Ok(node) => Ok(node),
            Err(vfs::Error::NotDirectory | vfs::Error::Loop) => Err(UnpackError::Through {
                path: path.to_owned(),
            }),
            Err(vfs::Error::NoEntry) => Err(refused(vfs::Error::ReadOnly)),
            Err(error) => Err(refused(error)),
        }
    }

    fn fill(
        &mut self,
        file: &Node,
        path: &str,
        bytes: u64,
        content: &mut dyn Read,
    ) -> Result<(), UnpackError> {
        let refused = |error| UnpackError::Refused {
            path: path.to_owned(),
            error,
        };
        let mut offset = 0;
        while offset < bytes {
            let read = content.read(&mut self.buffer);
            let read = read.map_err(ReadError::Tar)?;
            let mut left = self.buffer.get(..read).unwrap_or_default();
            if left.is_empty() {
                return Err(UnpackError::CutShort {
                    path: path.to_owned(),
                });
            }
            while !left.is_empty() {
                let written = file.write_at(offset, left, self.now).map_err(refused)?;
                left = left.get(written..).unwrap_or_default();
                offset += u64::try_from(written).unwrap_or(u64::MAX);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
