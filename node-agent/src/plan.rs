//! The decision: what to do next, given what should be and what is.
//!
//! [`Plan::between`] is pure. It names at most one action for each VM beside one status
//! write, and none that is already on its way, so planning twice changes nothing.

mod cells;
mod network;
mod vm;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::VmSpec;
use agentvm_policy::Grants;

use crate::border::Warning;
use crate::clock::Moment;
use crate::desired::{Desired, Uid, Want};
use crate::egress::{OfRun, Terms};
use crate::guards::{Guard, is_on};
use crate::mounts::{Contents, Object};
use crate::observed::files::first_read;
use crate::observed::{CellState, Fetch, Observed, ReadyModule, StopCause};
use crate::report::Report;
use crate::source::Source;

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In the order of namespaces and UIDs; all may run at once.
    pub actions: Vec<Action>,
    /// When to plan again even if nothing happens.
    pub wake_at: Option<Moment>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Fetch a module and have the warden compile it.
    EnsureModule {
        /// Where from.
        source: Source,
        /// Whose turn it takes at the compilers: of all who wait for it, the first.
        namespace: String,
    },
    /// Have the warden start a namespace's cell.
    EnsureCell {
        /// Its namespace.
        namespace: String,
    },
    /// Have the warden end a cell that no VM needs.
    StopCell {
        /// Its namespace.
        namespace: String,
    },
    /// Read what the VM's environment names and start it in its cell.
    StartVm(Box<Start>),
    /// Give a running VM its new live limits.
    UpdateLive {
        /// Which VM.
        uid: Uid,
        /// Whose cell.
        namespace: String,
        /// What it runs with, with the new limits.
        spec: Box<VmSpec>,
    },
    /// Read an object that running VMs mount.
    ReadContent {
        /// Which object.
        object: Object,
    },
    /// Tell what someone should look at.
    Warn {
        /// The VM's object.
        want: Arc<Want>,
        /// What.
        warning: Warning,
    },
    /// Read the keys that are not known and give the gateway a VM's rules.
    PutRules(Box<PutRules>),
    /// Have the gateway forget a VM, and say what it has used.
    DropRules {
        /// Which VM.
        uid: Uid,
    },
    /// Close a VM's stdin, and stop it when its grace is over.
    StopVm {
        /// Which VM.
        uid: Uid,
        /// Whose cell.
        namespace: String,
        /// How long it has.
        grace: Duration,
        /// Why.
        cause: StopCause,
    },
    /// Have the cell forget a VM that has ended.
    ForgetVm {
        /// Which VM.
        uid: Uid,
        /// Whose cell.
        namespace: String,
    },
    /// Ask the API server itself whether an object that left the watch is gone.
    ConfirmGone {
        /// Which object.
        uid: Uid,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Drop what the agent remembers of a VM.
    DropRecord {
        /// Which VM.
        uid: Uid,
    },
    /// Begin a new assignment of the same object.
    RenewRecord {
        /// Which VM.
        uid: Uid,
        /// The new assignment.
        epoch: u64,
    },
    /// Write a VM's status.
    ReportStatus {
        /// The object it speaks of.
        want: Arc<Want>,
        /// What it says.
        report: Box<Report>,
    },
}

/// A start with everything decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The object.
    pub want: Arc<Want>,
    /// Counts runs within the assignment.
    pub attempt: u32,
    /// The module to run.
    pub module: ReadyModule,
    /// What the VM may do.
    pub grants: Grants,
}

/// Rules on their way to the gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct PutRules {
    /// The object.
    pub want: Arc<Want>,
    /// What it may ask.
    pub terms: Arc<Terms>,
    /// The keys that are known already.
    pub known: Contents,
    /// What only the run knows.
    pub run: OfRun,
    /// The gateway that they are for; `None` while none answers.
    pub instance: Option<String>,
}

impl Action {
    /// True where it only changes what the agent remembers.
    pub fn is_bookkeeping(&self) -> bool {
        matches!(self, Self::DropRecord { .. } | Self::RenewRecord { .. })
    }

    /// The namespace whose cell is asked something for it.
    pub fn namespace_of_cell(&self) -> Option<&str> {
        match self {
            Self::StartVm(start) => Some(&start.want.namespace),
            Self::UpdateLive { namespace, .. }
            | Self::StopVm { namespace, .. }
            | Self::ForgetVm { namespace, .. } => Some(namespace),
            Self::ReportStatus { want, report } => {
                report.asks_for_usage().then_some(&*want.namespace)
            }
            Self::EnsureModule { .. }
            | Self::EnsureCell { .. }
            | Self::StopCell { .. }
            | Self::ConfirmGone { .. }
            | Self::DropRecord { .. }
            | Self::RenewRecord { .. }
            | Self::ReadContent { .. }
            | Self::Warn { .. }
            | Self::PutRules(_)
            | Self::DropRules { .. } => None,
        }
    }

    /// The object whose status is written.
    pub fn reported_on(&self) -> Option<&Uid> {
        if let Self::ReportStatus { want, .. } = self {
            Some(&want.uid)
        } else {
            None
        }
    }
}

impl Plan {
    /// What leads from `observed` to `desired`, as of `now`.
    pub fn between(desired: &Desired, observed: &Observed, now: Moment) -> Self {
        let mut draft = Draft {
            plan: Self::default(),
            asked: BTreeSet::new(),
            now,
        };
        if !observed.surveyed && is_on(Guard::Survey) {
            return draft.plan;
        }
        for (uid, record) in &observed.vms {
            let want = desired.vms.get(uid);
            network::plan(uid, want, record, observed, &mut draft);
            vm::plan(uid, want, record, desired, observed, &mut draft);
        }
        network::forget_strays(observed, &mut draft);
        cells::stop_idle(observed, &mut draft);
        draft.plan
    }
}

/// A plan in the making.
struct Draft {
    plan: Plan,
    /// Modules and cells that this plan already asks for.
    asked: BTreeSet<Shared>,
    now: Moment,
}

/// What several VMs can wait for together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Shared {
    Module(Source),
    Cell(String),
    Content(Object),
}

impl Draft {
    fn push(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    /// True where `until` has come; else the plan is made again then.
    fn is_due(&mut self, until: Moment) -> bool {
        if until <= self.now {
            return true;
        }
        self.plan.wake_at = Some(self.plan.wake_at.map_or(until, |at| at.min(until)));
        false
    }

    fn ensure_module(&mut self, source: &Source, namespace: &str, observed: &Observed) {
        let wanted = match observed.fetches.get(source) {
            None => true,
            Some(Fetch::Busy { .. }) => false,
            Some(Fetch::Waiting { until, .. }) => self.is_due(*until),
        };
        if wanted && self.asked.insert(Shared::Module(source.clone())) {
            self.push(Action::EnsureModule {
                source: source.clone(),
                namespace: namespace.to_owned(),
            });
        }
    }

    /// Has an object read that a run mounts since `since`, when its time has come.
    fn read_content(&mut self, object: Object, since: Moment, observed: &Observed) {
        let reading = observed.readings.get(&object);
        if reading.is_some_and(|reading| reading.busy) {
            return;
        }
        let until = reading.and_then(|reading| reading.until);
        let until = until.unwrap_or_else(|| first_read(&object, since));
        if self.is_due(until) && self.asked.insert(Shared::Content(object.clone())) {
            self.push(Action::ReadContent { object });
        }
    }

    /// True where the namespace's cell is up; else it is asked for.
    fn ensure_cell(&mut self, namespace: &str, observed: &Observed) -> bool {
        let wanted = match observed.cells.get(namespace) {
            Some(CellState::Up { .. }) => return true,
            None => true,
            Some(CellState::Starting { .. } | CellState::Stopping { .. }) => false,
            Some(CellState::Waiting { until, .. }) => self.is_due(*until),
        };
        if wanted && self.asked.insert(Shared::Cell(namespace.to_owned())) {
            self.push(Action::EnsureCell {
                namespace: namespace.to_owned(),
            });
        }
        false
    }
}
