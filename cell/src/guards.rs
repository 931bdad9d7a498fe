//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between an archive and a VM's files, or the cell's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// A name in an archive is relative and canonical.
    ArchiveNames,
    /// An archive holds directories, files and links alone.
    ArchiveKinds,
    /// Archives that wait are bounded together.
    ArchiveBytes,
    /// Nothing is unpacked through a link.
    UnpackNoFollow,
}

agentvm_guards::switch!(pub(crate) when test);
