//! What a node agent reports.

use agentvm_policy::EndReason;

use super::{At, Cause, Condition, ConditionType, ImageReason, Report, Status, StorageReason, Why};
use crate::agentvm::Phase;

/// What a node agent knows of one `AgentVM` that is assigned to its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentView<'a> {
    /// What it needs is fetched and compiled.
    Starting,
    /// Its guest runs.
    Running,
    /// It waits for its next run, or for the next attempt to start it.
    BackOff {
        /// How the last run ended, or why it could not start.
        cause: Cause,
        /// One sentence; may hold text from the guest.
        message: &'a str,
    },
    /// Stopped since it has to leave its node; it may be placed anew.
    Released {
        /// Why, in one sentence.
        message: &'a str,
    },
    /// Stopped since `spec.suspend` is true.
    Suspended,
    /// Its last run ended with exit code 0 and none follows.
    Complete {
        /// One sentence; may hold text from the guest.
        message: &'a str,
    },
    /// It ended otherwise, or can't start, and none follows.
    Failed {
        /// How the last run ended, or why it can't start.
        cause: Cause,
        /// One sentence; may hold text from the guest.
        message: &'a str,
    },
}

/// The phase and conditions that the node agent owns, every one of them in every phase.
pub fn agent(view: &AgentView<'_>, at: &At<'_>) -> Report {
    let phase = view.phase();
    let why = view.why();
    let is = |kind, wanted| at.condition(kind, Status::of(phase == wanted), why);
    let mut conditions = at.summary(phase, why).to_vec();
    conditions.extend([
        image_ready(view, at),
        is(ConditionType::Running, Phase::Running),
        is(ConditionType::Complete, Phase::Complete),
        is(ConditionType::Failed, Phase::Failed),
    ]);
    Report {
        phase: Some(phase),
        observed_generation: at.generation,
        conditions,
    }
}

/// The condition of a VM whose files can't grow since its node is short of memory.
///
/// Push it to the conditions of [`agent`] while that is so.
pub fn storage_pressure(at: &At<'_>) -> Condition {
    let why = Why {
        reason: StorageReason::NodeMemoryPressure.as_str(),
        message: "its node is short of memory: until that is over, every write that needs more of it fails with ENOSPC",
    };
    at.condition(ConditionType::StoragePressure, Status::True, why)
}

impl<'a> AgentView<'a> {
    /// The phase of this view.
    pub const fn phase(&self) -> Phase {
        match self {
            Self::Starting => Phase::Starting,
            Self::Running => Phase::Running,
            Self::BackOff { .. } => Phase::BackOff,
            Self::Released { .. } => Phase::Pending,
            Self::Suspended => Phase::Suspended,
            Self::Complete { .. } => Phase::Complete,
            Self::Failed { .. } => Phase::Failed,
        }
    }

    fn why(&self) -> Why<'a> {
        match *self {
            Self::Starting => Why {
                reason: Phase::Starting.as_str(),
                message: "its node fetches and compiles what it needs",
            },
            Self::Running => Why {
                reason: Phase::Running.as_str(),
                message: "the guest runs",
            },
            Self::BackOff { cause, message } | Self::Failed { cause, message } => Why {
                reason: cause.as_str(),
                message,
            },
            Self::Released { message } => Why {
                reason: EndReason::Evicted.as_str(),
                message,
            },
            Self::Suspended => Why {
                reason: Phase::Suspended.as_str(),
                message: "spec.suspend is true",
            },
            Self::Complete { message } => Why {
                reason: EndReason::Completed.as_str(),
                message,
            },
        }
    }
}

fn image_ready(view: &AgentView<'_>, at: &At<'_>) -> Condition {
    let there = Why {
        reason: ImageReason::Ready.as_str(),
        message: "module and environment are on the node",
    };
    let (status, why) = match *view {
        AgentView::Starting | AgentView::Suspended | AgentView::Released { .. } => {
            (Status::Unknown, view.why())
        }
        AgentView::Running | AgentView::Complete { .. } => (Status::True, there),
        AgentView::BackOff { cause, .. } | AgentView::Failed { cause, .. } => match cause {
            Cause::Ended(_) => (Status::True, there),
            Cause::Image(_) => (Status::False, view.why()),
            Cause::Refused(_) => (Status::Unknown, view.why()),
        },
    };
    at.condition(ConditionType::ImageReady, status, why)
}
