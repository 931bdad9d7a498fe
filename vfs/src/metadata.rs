//! What can be known of a file.

/// Nanoseconds since the Unix epoch; later or earlier times saturate.
pub type Timestamp = u64;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bytes.
    File,
    /// Names.
    Directory,
    /// A path.
    Symlink,
}

/// What can be known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Counts mounts from 1: equal for nodes of one mount, nothing of the host's.
    pub device: u64,
    /// Its number: unique within the VM while the node lives.
    pub inode: u64,
    /// Names that lead to it.
    pub links: u64,
    /// Bytes of a file or of a link's target; 0 for a directory.
    pub size: u64,
    /// Last read. Only set by hand, as on a mount with `noatime`.
    pub accessed: Timestamp,
    /// Last change of the content.
    pub modified: Timestamp,
    /// Last change of content or metadata.
    pub changed: Timestamp,
}

/// What a time is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// It stays.
    Keep,
    /// The time that the call is given as now.
    Now,
    /// This one.
    At(Timestamp),
}
