//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between a guest or a folder and what it must not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Nothing is read or written through a link.
    NoFollow,
    /// FIFOs, sockets and devices are not copied in.
    SpecialFiles,
    /// Only an empty folder is filled, and no file replaced.
    NewFiles,
}

agentvm_guards::switch!(pub(crate) when test);
