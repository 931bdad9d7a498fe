//! The guards that tests switch off one by one, to prove that each holds something back.
//!
//! Outside this crate's own tests every guard is always on.

/// One thing that stands between a guest, or an archive for one, and what is not its own.
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
    /// Of the namespaces whose modules wait, the one that has used compilers least is next.
    LeastCompiledFirst,
    /// No namespace has all compilers.
    CompilerLeft,
    /// A module has a size beyond which it is not looked at.
    ModuleSize,
    /// A module that was refused is refused again without compiling it.
    RefusalsKept,
    /// The modules of a namespace that wait for a compiler are bounded.
    CompileQueueBound,
    /// Under memory pressure the process that is most over what it was promised ends.
    MostOverEnds,
    /// Memory is looked at more often the less of it is left.
    MemoryPace,
    /// What a compiler says reaches nobody uncut or with control characters in it.
    CompilersWords,
    /// The number of cells is bounded.
    CellBound,
    /// Of the guests that are ready, the one that has used the least CPU time is polled next.
    LeastUsedFirst,
    /// What a guest has used counts by what it is promised.
    ShareByQuota,
    /// A guest that slept does not make up for it.
    SleepEarnsNothing,
    /// Work that is done for a VM elsewhere counts where it is decided who is next.
    WorkElsewhereCounts,
    /// A VM is charged for what the queue takes to find it and to wake its thread.
    QueueCharge,
    /// A VM is charged for what the thread of the timers takes to wake it.
    TimerCharge,
    /// A task that slept goes to a thread that goes before those of the busy ones.
    SleepersFirst,
    /// Time in which no guest of a cell is ready counts for who is behind.
    RestCounts,
    /// Starts wait where the tasks that control VMs use more than their share of a core.
    StartPace,
    /// What a run writes in all is bounded.
    LogTotal,
    /// The lines of VMs that write all they can leave room for those of others.
    LogRoom,
    /// They wait for a turn of each other VM, and not for its backlog.
    LogTurns,
    /// A VM pays for the writing of its lines.
    LogCharge,
    /// A VM pays for what its requests cost on the channel to the gateway.
    ChannelCharge,
    /// VMs that have all the requests in flight that they can leave room for those of others.
    ChannelRoom,
    /// A guest sends no header that is between the cell and the gateway.
    OwnHeaders,
}

agentvm_guards::switch!(pub(crate) when test);
