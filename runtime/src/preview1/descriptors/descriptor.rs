//! What a descriptor stands for, and how it was opened.

use agentvm_vfs::Node;

use crate::preview1::http::Exchange;

/// One of the streams that every guest starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::preview1) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// One open descriptor.
#[derive(Debug)]
pub(in crate::preview1) enum Descriptor {
    /// A stream.
    Stream {
        /// Which.
        stream: Stream,
        /// Reads that would wait answer AGAIN.
        nonblocking: bool,
    },
    /// A request to a host outside, and its answer.
    Exchange(Box<Exchange>),
    /// A file.
    File(OpenFile),
    /// A directory.
    Directory(OpenDirectory),
}

/// A file that is open.
#[derive(Debug)]
pub(in crate::preview1) struct OpenFile {
    pub(in crate::preview1) node: Node,
    pub(in crate::preview1) position: u64,
    pub(in crate::preview1) readable: bool,
    pub(in crate::preview1) writable: bool,
    /// As the guest set them; only APPEND makes a difference.
    pub(in crate::preview1) flags: u16,
}

/// A directory that is open.
#[derive(Debug)]
pub(in crate::preview1) struct OpenDirectory {
    pub(in crate::preview1) node: Node,
    /// The guest found it open when it started.
    pub(in crate::preview1) is_preopen: bool,
    /// As the guest set them, without any effect.
    pub(in crate::preview1) flags: u16,
}

impl OpenDirectory {
    /// `root` as a guest finds it.
    pub(super) fn preopened(root: Node) -> Self {
        Self {
            node: root,
            is_preopen: true,
            flags: 0,
        }
    }
}

impl Descriptor {
    /// True where it counts towards the limit: the guest opened it.
    pub(super) fn counts(&self) -> bool {
        match self {
            Self::Stream { .. } => false,
            Self::Exchange(_) | Self::File(_) => true,
            Self::Directory(directory) => !directory.is_preopen,
        }
    }

    /// The file or directory behind it; INVAL and the like are for the caller to say.
    pub(in crate::preview1) fn node(&self) -> Option<&Node> {
        match self {
            Self::Stream { .. } | Self::Exchange(_) => None,
            Self::File(file) => Some(&file.node),
            Self::Directory(directory) => Some(&directory.node),
        }
    }
}
