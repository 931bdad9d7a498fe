//! What is: what cells say, which modules are ready, what is on its way and what must wait.
//!
//! [`Observed`] changes by three verbs only: [`Observed::noticed`] for what the outside says,
//! [`Observed::began`] for an action that is now on its way and [`Observed::finished`] for
//! what came of it. None of them does I/O or reads a clock.

mod adopt;
mod cells;
pub mod files;
pub mod network;
mod outcome;
pub mod pressure;
mod record;
mod settle;

use std::collections::BTreeMap;

use agentvm_cell_api::cell::{End, VmStatus};
use agentvm_cell_api::gateway;
use agentvm_cell_api::warden::EndedCell;

pub(crate) use self::cells::needing_cells;
pub use self::files::{LiveFiles, Reading};
pub use self::network::{Gateway, Given, Held, Network};
pub use self::pressure::{LimitsPressure, Pressure};
pub use self::record::{Gone, ReadyModule, Record, Retry, Run, StopCause, Told, Unsettled, Verb};
use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::desired::{Desired, Uid};
use crate::mounts::{Content, Object};
use crate::problem::Problem;
use crate::report::{self, Key};
use crate::source::Source;

/// Everything that is, as far as the agent knows.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// True once every cell that ran when the agent started has been listed: before that, a VM
    /// that seems to be missing may be running.
    pub surveyed: bool,
    /// One record for each VM that is wanted, runs, or is still to be cleaned up.
    pub vms: BTreeMap<Uid, Record>,
    /// Fetches on the way, or waiting after a failure.
    pub fetches: BTreeMap<Source, Fetch>,
    /// Mounted objects, read now and then while somebody runs with them.
    pub readings: BTreeMap<Object, Reading>,
    /// Cells by namespace.
    pub cells: BTreeMap<String, CellState>,
    /// The gateway; `None` while none answers.
    pub gateway: Option<Gateway>,
    /// The last cell of each namespace that ended before the agent started, where the warden knows.
    ended_before: BTreeMap<String, EndedCell>,
    /// Since when the cells run that the agent found when it started, Unix milliseconds.
    found: BTreeMap<String, u64>,
    /// Runs that ended since they were last taken.
    ends: Vec<Ended>,
    /// What runs have used of the network that is no longer counted by a gateway.
    used: Vec<(Uid, gateway::Usage)>,
}

/// One run that ended, for the ledger.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// UID of the object.
    pub uid: Uid,
    /// How it ended.
    pub end: End,
}

impl Observed {
    /// True where nothing runs, nothing is about to, and everything is told.
    pub fn has_left(&self, desired: &Desired, now: Moment) -> bool {
        self.surveyed
            && self.vms.iter().all(|(uid, record)| {
                let told = desired.vms.get(uid).is_none_or(|want| {
                    let key = report::key(want, record, now);
                    want.released || key.is_none() || key == record.told.key
                });
                let is_over = !record.is_live() && !record.network.is_leaving();
                told && !record.told.busy && is_over && record.busy != Some(Verb::Start)
            })
    }

    /// Takes what runs have used of the network since the last call, as far as no gateway counts
    /// it any more.
    pub fn take_used(&mut self) -> Vec<(Uid, gateway::Usage)> {
        std::mem::take(&mut self.used)
    }

    /// Takes the runs that ended since the last call.
    pub fn take_ends(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ends)
    }
}

/// One module that somebody waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Fetch {
    /// On its way.
    Busy {
        /// Failures in a row before this attempt.
        history: Backoff,
    },
    /// To be tried again.
    Waiting {
        /// Not before this.
        until: Moment,
        /// Failures in a row.
        history: Backoff,
        /// What went wrong last.
        problem: Problem,
    },
}

/// One namespace's cell.
#[derive(Clone, Debug, PartialEq)]
pub enum CellState {
    /// Asked for.
    Starting {
        /// Failures in a row before this attempt.
        history: Backoff,
    },
    /// Running and listed.
    Up {
        /// Which process it is.
        instance: String,
        /// Since when no VM needs it.
        idle_since: Option<Moment>,
    },
    /// Told to end, since no VM needed it.
    Stopping {
        /// Which process it is.
        instance: String,
    },
    /// Could not be started; to be tried again.
    Waiting {
        /// Not before this.
        until: Moment,
        /// Failures in a row.
        history: Backoff,
        /// What went wrong last.
        message: String,
        /// Whether that is for want of room.
        lack: Lack,
    },
}

/// What is missing where a cell does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// The node runs as many cells as it may.
    Room,
    /// Anything else.
    Other,
}

/// What the outside says by itself.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Every cell that ran when the agent started has been listed.
    Surveyed {
        /// Those of which the warden knows how they ended, oldest first.
        ended: Vec<EndedCell>,
    },
    /// A cell runs; its VMs follow.
    CellUp {
        /// Its namespace.
        namespace: String,
        /// Which process it is.
        instance: String,
        /// Since when it runs, Unix milliseconds.
        started_unix_ms: u64,
        /// Every VM in it.
        vms: Vec<VmStatus>,
    },
    /// VMs of a cell changed.
    CellChanged {
        /// Its namespace.
        namespace: String,
        /// Which process it is.
        instance: String,
        /// The VMs that changed.
        vms: Vec<VmStatus>,
    },
    /// A cell's process is gone, and every VM in it.
    CellGone {
        /// Its namespace.
        namespace: String,
        /// Which process it was.
        instance: String,
        /// How it ended, where the warden knows.
        ended: Option<EndedCell>,
    },
    /// The gateway answers and knows its node.
    GatewayUp {
        /// Which process it is.
        instance: String,
        /// The VMs that have rules there.
        vms: BTreeMap<Uid, gateway::Usage>,
    },
    /// The gateway does not answer any more.
    GatewayAway,
    /// What VMs have used of the network.
    NetworkUsed {
        /// The process that says so.
        instance: String,
        /// By UID.
        vms: BTreeMap<Uid, gateway::Usage>,
    },
    /// The gateway refused requests.
    Denied(Vec<gateway::Denial>),
}

/// What came of an action.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Of `EnsureModule`.
    Module {
        /// What was fetched.
        source: Source,
        /// The module as the warden has it, or why not.
        result: Result<ReadyModule, Problem>,
    },
    /// Of `EnsureCell` where it failed; success is noticed as [`Notice::CellUp`].
    CellFailed {
        /// Its namespace.
        namespace: String,
        /// Why.
        message: String,
        /// Whether that is for want of room.
        lack: Lack,
    },
    /// Of `StopCell` where it failed; success is noticed as [`Notice::CellGone`].
    CellNotStopped {
        /// Its namespace.
        namespace: String,
    },
    /// Of `StartVm`.
    Started {
        /// Which VM.
        uid: Uid,
        /// As the cell has it, or why not.
        result: Result<VmStatus, StartFailure>,
    },
    /// Of `PutRules`.
    RulesGiven {
        /// Which VM.
        uid: Uid,
        /// What the gateway has now, or why not.
        result: Given,
    },
    /// Of `DropRules`.
    RulesTaken {
        /// Which VM.
        uid: Uid,
        /// What it had used, where the gateway knew it, or why the call failed.
        result: Result<Option<gateway::Usage>, String>,
    },
    /// Of `UpdateLive`.
    Updated {
        /// Which VM.
        uid: Uid,
        /// As the cell has it, or why not.
        result: Result<VmStatus, String>,
    },
    /// Of `ReadContent`.
    Content {
        /// Which object.
        object: Object,
        /// What it holds, or why that can't be read.
        result: Result<Content, String>,
    },
    /// Of `StopVm` and `ForgetVm`.
    Deleted {
        /// Which VM.
        uid: Uid,
        /// What the cell has left of it, or why the call failed.
        result: Result<Option<VmStatus>, String>,
    },
    /// Of `ConfirmGone`.
    Confirmed {
        /// Which VM.
        uid: Uid,
        /// What a live read says, or why it failed.
        result: Result<Gone, String>,
    },
    /// Of `ReportStatus`.
    Reported {
        /// Which VM.
        uid: Uid,
        /// What was written.
        key: Key,
        /// Why it failed.
        result: Result<(), String>,
    },
}

/// Why a VM was not started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The warden no longer has the module.
    ModuleLost,
    /// Something that a later attempt, or none, can put right.
    Problem(Problem),
}
