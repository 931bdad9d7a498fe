//! One file, directory or link.

use std::sync::Arc;

use super::blocks::{Blocks, length};
use super::directory::Directory;
use super::quota::VolumeId;
use crate::guards::{self, Guard};
use crate::{Kind, Timestamp};

/// What every inode costs.
pub(crate) const INODE_COST: u64 = 128;

/// One file, directory or link.
pub(crate) struct Inode {
    pub(crate) content: Content,
    pub(crate) accessed: Timestamp,
    pub(crate) modified: Timestamp,
    pub(crate) changed: Timestamp,
    /// Names of a file or link; 2 and one for each directory in it for a directory, 0 once it
    /// is removed.
    pub(crate) links: u32,
    /// Nodes that refer to it.
    pub(crate) opens: u32,
    pub(crate) volume: VolumeId,
    /// The root of a mount or a directory that leads to one: it stays where it is, and is free
    /// of charge with its name.
    pub(crate) pinned: bool,
}

/// What an inode holds.
pub(crate) enum Content {
    /// A file that can be written.
    File { size: u64, blocks: Blocks },
    /// A file of a `ConfigMap` or a Secret.
    Shared { data: Arc<[u8]>, readable: bool },
    /// Names.
    Directory(Box<Directory>),
    /// A link's target.
    Symlink(Box<str>),
}

impl Content {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::File { .. } | Self::Shared { .. } => Kind::File,
            Self::Directory(_) => Kind::Directory,
            Self::Symlink(_) => Kind::Symlink,
        }
    }

    /// The size that a guest sees.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            Self::Shared { data, .. } => length(data.len()),
            Self::Directory(_) => 0,
            Self::Symlink(target) => length(target.len()),
        }
    }

    /// The bytes that it is charged, without those of its names.
    pub(crate) fn held(&self) -> u64 {
        match self {
            Self::File { blocks, .. } => blocks.held(),
            Self::Shared { data, .. } => length(data.len()),
            Self::Symlink(target) if guards::is_on(Guard::TargetCounts) => length(target.len()),
            Self::Directory(_) | Self::Symlink(_) => 0,
        }
    }
}

impl Inode {
    pub(crate) fn new(content: Content, volume: VolumeId, now: Timestamp) -> Self {
        let links = match content.kind() {
            Kind::Directory => 2,
            Kind::File | Kind::Symlink => 1,
        };
        Self {
            content,
            accessed: now,
            modified: now,
            changed: now,
            links,
            opens: 0,
            volume,
            pinned: false,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.content.kind()
    }

    /// The bytes that it is charged while it lives.
    pub(crate) fn cost(&self) -> u64 {
        if self.pinned {
            0
        } else {
            INODE_COST + self.content.held()
        }
    }

    pub(crate) fn directory(&self) -> Option<&Directory> {
        match &self.content {
            Content::Directory(directory) => Some(directory),
            Content::File { .. } | Content::Shared { .. } | Content::Symlink(_) => None,
        }
    }

    pub(crate) fn directory_mut(&mut self) -> Option<&mut Directory> {
        match &mut self.content {
            Content::Directory(directory) => Some(directory),
            Content::File { .. } | Content::Shared { .. } | Content::Symlink(_) => None,
        }
    }

    /// Content has changed.
    pub(crate) fn touch(&mut self, now: Timestamp) {
        self.modified = now;
        self.changed = now;
    }
}
