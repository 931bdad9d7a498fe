//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between a VM and more than a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    /// The sums of a node's VMs stay within what it offers.
    Sums,
    /// A node runs so many cells, and each holds so many VMs.
    Cells,
    /// What is decided counts before it is written and seen.
    CountedAtOnce,
    /// A cell counts for as long as its node's agent says that it is in use.
    CellsInUse,
}

agentvm_guards::switch!(pub(crate) when test);
