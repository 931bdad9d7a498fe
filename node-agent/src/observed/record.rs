//! What the agent remembers of one VM.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{End, VmSpec, VmState};
use agentvm_cell_api::warden::ModuleKind;
use agentvm_crds::agentvm::AgentVMSpec;
use agentvm_policy::{EndReason, LimitField};

use super::{LimitsPressure, LiveFiles, Network, Pressure};
use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::problem::Problem;
use crate::report::Key;

/// What the agent remembers of one VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The assignment that the rest speaks of.
    pub epoch: u64,
    /// The grace it was last given; for a VM whose object is gone.
    pub grace: Duration,
    /// Its module, once it is known.
    pub module: Option<ReadyModule>,
    /// True where the warden lost the module, which must then be fetched again by its digest.
    pub module_lost: bool,
    /// Its run.
    pub run: Run,
    /// The latest run that ended, as epoch and number of its successor: what lists still say of it
    /// is old news.
    pub past: (u64, u32),
    /// The number of the next run within this assignment.
    pub next_attempt: u32,
    /// True where the next run counts as a restart.
    pub next_counts: bool,
    /// What the run that is being started follows.
    pub starting: Option<Arc<AgentVMSpec>>,
    /// Runs after the first, over the object's whole life.
    pub restarts: u32,
    /// Ends in a row that were followed by another run.
    pub crashes: Backoff,
    /// No run starts before this.
    pub not_before: Option<Moment>,
    /// How the last run ended that ended by itself.
    pub exit: Option<End>,
    /// How the last run ended, however it did; taken for the ledger.
    pub(super) last_end: Option<End>,
    /// When the last run started, Unix milliseconds.
    pub started_unix_ms: Option<u64>,
    /// True where no run will follow.
    pub finished: bool,
    /// What keeps it from starting.
    pub problem: Option<Problem>,
    /// Since when a policy refuses it.
    pub refused_since: Option<Moment>,
    /// The one action on the way.
    pub busy: Option<Verb>,
    /// The wait after an action that failed.
    pub retry: Option<Retry>,
    /// What a live read said about the object, once it left the watch.
    pub gone: Option<Gone>,
    /// What the run lacks of its mounted files.
    pub files: LiveFiles,
    /// Whether the run's files can't grow.
    pub pressure: Pressure,
    /// Which of the run's limits press.
    pub limits_pressure: LimitsPressure,
    /// What the gateway has of it.
    pub network: Network,
    /// What the API server has been told.
    pub told: Told,
}

/// A module that the warden can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyModule {
    /// Lower-case hex SHA-256 of its bytes.
    pub sha256: String,
    /// Its shape.
    pub kind: ModuleKind,
}

/// One run of a VM.
#[derive(Clone, Debug, PartialEq)]
pub enum Run {
    /// None, now.
    None,
    /// The cell holds it and it has not ended.
    Live {
        /// Which process holds it.
        instance: String,
        /// What it was started with, live limits as last set.
        spec: Arc<VmSpec>,
        /// Where it is in its life.
        state: VmState,
        /// The list version of what was last heard of it.
        version: u64,
        /// When the agent first saw it.
        since: Moment,
        /// The specification it was started by; `None` where another agent started it.
        from: Option<Arc<AgentVMSpec>>,
        /// Why it was told to stop.
        stopping: Option<StopCause>,
    },
    /// It ended, and the cell still remembers it or nobody has decided what follows.
    Ended {
        /// The process that still remembers it.
        held: Option<String>,
        /// An end of which nobody has decided yet what follows, since its object was not known.
        unsettled: Option<Unsettled>,
    },
}

/// An end of which nobody has decided yet what follows.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsettled {
    /// How it ended.
    pub end: End,
    /// How long it ran.
    pub ran: Duration,
    /// Why it was told to stop, if it was.
    pub cause: Option<StopCause>,
}

/// Why a VM is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopCause {
    /// A field changed that takes another run.
    Changed,
    /// `spec.suspend` is true.
    Suspended,
    /// A policy no longer allows what it asks for.
    Refused,
    /// Its object is gone.
    Deleted,
    /// It is assigned elsewhere, or anew.
    Moved,
    /// It must leave this node.
    Evicted,
}

impl StopCause {
    /// The reason with which the cell ends it.
    pub const fn end_reason(self) -> EndReason {
        match self {
            Self::Changed | Self::Suspended | Self::Refused | Self::Deleted => EndReason::Stopped,
            Self::Moved | Self::Evicted => EndReason::Evicted,
        }
    }
}

/// An action on one VM that is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// `StartVm`
    Start,
    /// `UpdateLive`
    Update,
    /// `StopVm`
    Stop(StopCause),
    /// `ForgetVm`
    Forget,
    /// `ConfirmGone`
    Confirm,
}

/// The wait after an action that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Not before this.
    pub until: Moment,
    /// Failures in a row.
    pub history: Backoff,
}

/// What a live read says of an object that left the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// No object of that UID exists.
    Deleted,
    /// It is assigned to another node.
    Moved,
    /// It is still assigned to this node: the watch will bring it back.
    StillHere,
}

/// What the API server has been told about one VM.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// The last status that was written, or found.
    pub key: Option<Key>,
    /// A write is on its way.
    pub busy: bool,
    /// The wait after a write that failed.
    pub retry: Option<Retry>,
}

impl Record {
    /// A VM of which nothing is known but its identity.
    pub fn new(namespace: &str, name: &str, epoch: u64, grace: Duration) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            epoch,
            grace,
            module: None,
            module_lost: false,
            run: Run::None,
            past: (0, 0),
            next_attempt: 0,
            next_counts: false,
            starting: None,
            restarts: 0,
            crashes: Backoff::default(),
            not_before: None,
            exit: None,
            last_end: None,
            started_unix_ms: None,
            finished: false,
            problem: None,
            refused_since: None,
            busy: None,
            retry: None,
            gone: None,
            files: LiveFiles::default(),
            pressure: Pressure::default(),
            limits_pressure: LimitsPressure::default(),
            network: Network::default(),
            told: Told::default(),
        }
    }

    /// True where its namespace's cell must stay.
    pub fn needs_cell(&self) -> bool {
        !self.finished || self.run != Run::None || self.busy.is_some()
    }

    /// The limits that press its run, those of the network as well.
    pub fn limits_pressure(&self, now: Moment) -> BTreeSet<LimitField> {
        let mut pressing = self.limits_pressure.told(now);
        pressing.extend(self.network.pressure.told(now));
        pressing
    }

    /// True where a cell holds a run that has not ended.
    pub fn is_live(&self) -> bool {
        matches!(self.run, Run::Live { .. })
    }
}
