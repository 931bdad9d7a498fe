//! From a VM's files into an archive: what lies below one path of one mount, and nothing else.

mod walk;

use std::io::{self, Read, Write};

use agentvm_runtime::vfs::{self, Filesystem, Follow, Kind as NodeKind, Node, Open};

use self::walk::{Frame, Walk};
use crate::archive::{Item, Kind, MAX_ARCHIVE_BYTES, NameError, WriteError, Writer};

/// Bytes of the blocks that an archive consists of.
const BLOCK_BYTES: u64 = 512;

/// Why nothing can be copied out.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    /// There is no such path, or what a guest would be told of it.
    #[error("{path:?}: {error}")]
    Refused {
        /// What was read.
        path: String,
        /// What a guest would be told.
        error: vfs::Error,
    },
    /// Its path can't be kept in an archive.
    #[error(transparent)]
    Name(#[from] NameError),
    /// It would be larger than what the VM may store.
    #[error(
        "the files below {path:?} are {bytes} bytes long, more than the {most} of limits.storage: a sparse file is copied with its zeros"
    )]
    TooLarge {
        /// What was asked for.
        path: String,
        /// Bytes of all files.
        bytes: u64,
        /// Bytes that may be copied out.
        most: u64,
    },
    /// The archive would be too large, though the files are not.
    #[error("the files below {path:?} have too many names for one archive of {} MiB", MAX_ARCHIVE_BYTES >> 20)]
    TooManyNames {
        /// What was asked for.
        path: String,
    },
    /// It can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// Its end can't be written.
    #[error("the archive can't be ended: {0}")]
    Finish(io::Error),
}

/// What is copied out: a path, absolute and canonical.
#[derive(Debug)]
pub(super) struct Pack {
    filesystem: Filesystem,
    path: String,
    now: vfs::Timestamp,
}

impl Pack {
    /// What lies at `path`: a directory's content, or one file.
    pub(super) fn new(filesystem: Filesystem, path: &str, now: vfs::Timestamp) -> Self {
        Self {
            filesystem,
            path: path.to_owned(),
            now,
        }
    }

    /// Whether it can be copied out, with at most `most` bytes in all files.
    pub(super) fn check(&self, most: u64) -> Result<(), PackError> {
        let (mut content, mut archive) = (0_u64, 2 * BLOCK_BYTES);
        self.visit(&mut |item, _node| {
            let bytes = if let Kind::File { bytes } = item.kind {
                bytes
            } else {
                0
            };
            content = content.saturating_add(bytes);
            archive = archive.saturating_add(archived(&item, bytes));
            Ok(())
        })?;
        if content > most {
            let path = self.path.clone();
            return Err(PackError::TooLarge {
                path,
                bytes: content,
                most,
            });
        }
        if archive > MAX_ARCHIVE_BYTES {
            let path = self.path.clone();
            return Err(PackError::TooManyNames { path });
        }
        Ok(())
    }

    /// Writes the archive.
    pub(super) fn write<W: Write>(&self, out: W) -> Result<W, PackError> {
        let mut writer = Writer::new(out);
        self.visit(&mut |item, node| {
            let mut content = Content { node, offset: 0 };
            Ok(writer.add(&item, &mut content)?)
        })?;
        writer.finish().map_err(PackError::Finish)
    }

    fn visit(
        &self,
        each: &mut dyn FnMut(Item, Option<Node>) -> Result<(), PackError>,
    ) -> Result<(), PackError> {
        let below = self.path.trim_start_matches('/');
        let refused = |error| PackError::Refused {
            path: self.path.clone(),
            error,
        };
        let root = self.filesystem.root();
        let (parent, name) = below.rsplit_once('/').unwrap_or(("", below));
        let top = match below {
            "" => root.clone(),
            path => match root.metadata_of(path, Follow::No).map_err(refused)?.kind {
                NodeKind::Directory => self.open(&root, path, DIRECTORY).map_err(refused)?,
                NodeKind::File => {
                    let parent = match parent {
                        "" => root,
                        parent => self.open(&root, parent, DIRECTORY).map_err(refused)?,
                    };
                    let mut walk = Walk::new(self, parent.metadata().device);
                    let (item, node) = walk.item(&parent, String::new(), name)?;
                    return each(item, node);
                }
                NodeKind::Symlink => return Err(refused(vfs::Error::NotDirectory)),
            },
        };
        let mut walk = Walk::new(self, top.metadata().device);
        walk.frames.push(Frame::new(String::new(), top));
        while let Some((item, node)) = walk.next()? {
            each(item, node)?;
        }
        Ok(())
    }

    fn open(&self, from: &Node, path: &str, how: Open) -> Result<Node, vfs::Error> {
        from.open(path, Follow::No, how, self.now)
    }
}

/// Bytes of an item in an archive.
fn archived(item: &Item, content: u64) -> u64 {
    let target = match &item.kind {
        Kind::Symlink { target } => target.len(),
        Kind::HardLink { to } => to.len(),
        Kind::Directory | Kind::File { .. } => 0,
    };
    let long = |bytes: usize| match u64::try_from(bytes).unwrap_or(u64::MAX) {
        0..100 => 0,
        long => BLOCK_BYTES.saturating_add(long.saturating_add(1).next_multiple_of(BLOCK_BYTES)),
    };
    content
        .checked_next_multiple_of(BLOCK_BYTES)
        .unwrap_or(u64::MAX)
        .saturating_add(BLOCK_BYTES)
        .saturating_add(long(target))
        .saturating_add(long(item.path.len()))
}

const DIRECTORY: Open = Open {
    create: false,
    exclusive: false,
    directory: true,
    truncate: false,
    write: false,
    read: false,
};

const FILE: Open = Open {
    create: false,
    exclusive: false,
    directory: false,
    truncate: false,
    write: false,
    read: true,
};

/// A file's content from its start on.
struct Content {
    node: Option<Node>,
    offset: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(node) = &self.node else {
            return Ok(0);
        };
        let read = node
            .read_at(self.offset, buffer)
            .map_err(io::Error::other)?;
        self.offset += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(read)
    }
}
