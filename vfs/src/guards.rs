//! The guards that tests can switch off one by one, to prove that each holds something back.
//!
//! Without the feature `mutants`, which no shipped build has, every guard is always on.

/// One thing that stands between a guest and what it must not reach or hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(
        unreachable_pub,
        reason = "public for the tests that switch guards off"
    )
)]
pub enum Guard {
    /// `..` never leads above the directory that a path starts from.
    EscapeAbove,
    /// An absolute path is refused.
    AbsolutePath,
    /// An absolute link is only followed from the virtual root.
    AbsoluteLink,
    /// A name with a NUL is refused.
    NulInName,
    /// A name over 255 bytes is refused.
    NameLength,
    /// A path leads through at most 40 links.
    SymlinkCap,
    /// A read-only mount can't be changed.
    ReadOnlyMount,
    /// A mount point can't be renamed, replaced or removed.
    MountPoint,
    /// A name never moves to, or links to, another mount.
    CrossMount,
    /// A directory never moves below itself.
    RenameBelowItself,
    /// Directories nest at most `MAX_DEPTH` deep.
    Depth,
    /// The VM's bytes are bounded.
    ByteQuota,
    /// The VM's inodes are bounded.
    InodeQuota,
    /// A mount's own bytes are bounded.
    MountQuota,
    /// A file's apparent size is bounded.
    FileSizeCap,
    /// An unlinked file counts until its last node is dropped.
    UnlinkedCounts,
    /// A link's target counts, and is bounded.
    TargetCounts,
    /// A file's hard links are bounded.
    LinkCap,
    /// What the host works is counted.
    WorkCount,
    /// A file without the owner's read bit is not read.
    ReadBit,
    /// Nothing grows while the host refuses growth.
    HostGrowth,
}

agentvm_guards::switch!(pub when feature = "mutants");
