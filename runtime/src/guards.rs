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
    /// What a component gets of random bytes in one call is bounded.
    RandomBound,
    /// The number of handles that a component holds is bounded.
    HandleBound,
    /// The number of files that a guest has open is bounded.
    OpenFiles,
    /// Linear memory is charged to the memory limit.
    MemoryCharge,
    /// Tables are charged to the memory limit.
    TableCharge,
    /// What the host holds for a guest is charged to the memory limit.
    HostMemoryCharge,
    /// Streams, pollables and other handles are charged to the memory limit.
    HandleCharge,
    /// Instances are charged to the memory limit.
    InstanceCharge,
    /// A VM without a network has no way out.
    NoNetwork,
    /// The number of requests that a guest has in flight is bounded.
    ExchangeBound,
    /// The number of subscriptions in one poll is bounded.
    PollBound,
    /// Closing stdin wakes a guest that waits for it.
    StdinWake,
    /// CPU time above the quota delays the guest.
    CpuQuota,
    /// The host's work between two turns of guests is charged to the second.
    TurnCharge,
    /// Instructions that work on many bytes or elements cost fuel by their number.
    BulkCost,
    /// Instructions that work on much memory do so in pieces.
    BulkPieces,
    /// A guest that could fill more memory than its CPU quota allows gives way sooner.
    ShortIntervals,
    /// A guest ends with its fuel.
    FuelLimit,
    /// A stop ends a guest when its grace is over.
    StopEnds,
    /// The number of instances, memories and tables of a VM is bounded.
    InstanceBound,
}

agentvm_guards::switch!(pub when feature = "mutants");
