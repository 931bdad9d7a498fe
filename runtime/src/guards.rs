//! The guards that tests can switch off one by one, to prove that each holds something back.
//!
//! Without the feature `mutants`, which no shipped build has, every guard is always on.

/// One thing that stands between a guest and the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "mutants"),
    expect(
        unreachable_pub,
        reason = "public for the tests that switch guards off"
    )
)]
pub enum Guard {
    /// Proposals of WebAssembly that are not listed are closed.
    ClosedProposals,
    /// Host calls cost fuel by call and by byte.
    HostCallCharge,
    /// What a filesystem works costs fuel by step and by byte.
    FileCharge,
    /// Large reads and writes stop in between, for the guest to pay and others to run.
    FileChunks,
    /// What a component reads of a file in one call is bounded.
    FileReadBound,
    /// The number of handles that a component holds is bounded.
    HandleBound,
    /// The number of files that a guest has open is bounded.
    OpenFiles,
    /// Linear memory is charged to the memory limit.
    MemoryCharge,
    /// Tables are charged to the memory limit.
    TableCharge,
    /// The number of subscriptions in one poll is bounded.
    PollBound,
    /// Closing stdin wakes a guest that waits for it.
    StdinWake,
    /// CPU time above the quota delays the guest.
    CpuQuota,
}

#[cfg(feature = "mutants")]
mod switch {
    use std::cell::Cell;

    use super::Guard;

    thread_local! {
        static OFF: Cell<Option<Guard>> = const { Cell::new(None) };
    }

    /// Switches `guard` off for whatever this thread does while `during` runs.
    pub fn switch_off<T>(guard: Guard, during: impl FnOnce() -> T) -> T {
        OFF.set(Some(guard));
        let result = during();
        OFF.set(None);
        result
    }

    pub(crate) fn is_on(guard: Guard) -> bool {
        OFF.get() != Some(guard)
    }
}

#[cfg(feature = "mutants")]
pub use switch::switch_off;

#[cfg(feature = "mutants")]
pub(crate) use switch::is_on;

#[cfg(not(feature = "mutants"))]
pub(crate) const fn is_on(_guard: Guard) -> bool {
    true
}
