//! Phase and conditions of an `AgentVM`, for everything that can be true of one.
//!
//! Pure functions: the caller says what is the case, when, and what stood there before; it gets
//! the phase and the complete list of the conditions that it owns, ready for server-side apply.
//!
//! # The operator
//! [`operator`] takes an [`OperatorView`]. Without an assignment the operator owns the whole
//! status; in the apply that assigns ([`OperatorView::Assigning`]) it sets `Starting`; after
//! that ([`OperatorView::Assigned`]) it owns `Accepted` and `Placed` alone, and
//! [`Report::phase`] and [`Report::observed_generation`] are `None`: leave them out of the apply.
//!
//! # The node agent
//! [`agent`] takes an [`AgentView`] and yields every condition that the agent owns, `False` and
//! `Unknown` ones included: an apply by force takes over what the operator wrote while it
//! assigned only if it names it. [`storage_pressure`] and [`limits_pressure`] are added while they
//! hold and left out otherwise, which takes them away.
//!
//! # What programs may rely on
//! | phase | `Ready` | `Reconciling` | `Stalled` | kstatus |
//! | --- | --- | --- | --- | --- |
//! | `Pending` | `False` | `True` | `False` | `InProgress` |
//! | `Starting` | `False` | `True` | `False` | `InProgress` |
//! | `Running` | `True` | `False` | `False` | `Current` |
//! | `BackOff` | `False` | `True` | `False` | `InProgress` |
//! | `Suspended` | `True` | `False` | `False` | `Current` |
//! | `Complete` | `True` | `False` | `False` | `Current` |
//! | `Failed` | `False` | `False` | `True` | `Failed` |
//!
//! `Complete` and `Failed` are `True` in the phase of that name alone. A reason is the
//! [`Cause`] where there is one, else the phase's name. Messages that a guest can influence are
//! cut to 1 KiB and carry no control characters: [`sentence`] is applied to all of them here.

mod agent;
mod operator;
mod pressure;
mod reason;
mod sentence;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

pub use agent::{AgentView, agent, storage_pressure};
pub use operator::{OperatorView, operator};
pub use pressure::{Pressing, limits_pressure, pressing_sentence};
pub use reason::{AcceptedReason, Cause, ImageReason, LimitsReason, PlacedReason, StorageReason};
pub use sentence::{MAX_MESSAGE_BYTES, sentence};

use crate::agentvm::Phase;

/// The condition types of an `AgentVM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The spec is sound and every policy allows it. The operator's.
    Accepted,
    /// A node was found. The operator's.
    Placed,
    /// In the state that the spec asks for.
    Ready,
    /// On the way there.
    Reconciling,
    /// Never to get there without a change by someone.
    Stalled,
    /// Module and environment are on the node and compiled. The agent's.
    ImageReady,
    /// The guest runs. The agent's.
    Running,
    /// It ended with exit code 0 and stays ended. The agent's.
    Complete,
    /// It ended otherwise or can't start, and stays so. The agent's, or the operator's where it
    /// refuses a spec that has no node.
    Failed,
    /// Its node is short of memory, and its files can't grow. The agent's, there only while it is
    /// the case; says nothing about readiness.
    StoragePressure,
    /// It has nearly used up a limit, or is delayed by one. The agent's, there only while it is
    /// the case; says nothing about readiness.
    LimitsPressure,
}

impl ConditionType {
    /// Every type, in the order in which they are listed.
    pub const ALL: [Self; 11] = [
        Self::Accepted,
        Self::Placed,
        Self::Ready,
        Self::Reconciling,
        Self::Stalled,
        Self::ImageReady,
        Self::Running,
        Self::Complete,
        Self::Failed,
        Self::StoragePressure,
        Self::LimitsPressure,
    ];

    /// The type as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "Accepted",
            Self::Placed => "Placed",
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::ImageReady => "ImageReady",
            Self::Running => "Running",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
            Self::StoragePressure => "StoragePressure",
            Self::LimitsPressure => "LimitsPressure",
        }
    }
}

/// Where and when a report is made.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// `metadata.generation` of the object that was looked at.
    pub generation: Option<i64>,
    /// The time of this report.
    pub now: &'a Time,
    /// The conditions as they stand: one whose status stays keeps its `lastTransitionTime`.
    pub previous: &'a [Condition],
}

/// What its owner writes into the status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// `status.phase`; `None` where another writer owns it.
    pub phase: Option<Phase>,
    /// `status.observedGeneration`; `None` where another writer owns it.
    pub observed_generation: Option<i64>,
    /// Every condition that the writer owns now.
    pub conditions: Vec<Condition>,
}

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    const fn of(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// One reason and message, shared by the conditions of a report.
#[derive(Clone, Copy, Debug)]
struct Why<'a> {
    reason: &'a str,
    message: &'a str,
}

impl At<'_> {
    fn condition(&self, kind: ConditionType, status: Status, why: Why<'_>) -> Condition {
        let before = self
            .previous
            .iter()
            .find(|one| one.type_ == kind.as_str() && one.status == status.as_str());
        Condition {
            last_transition_time: before
                .map_or(self.now, |one| &one.last_transition_time)
                .clone(),
            message: sentence(why.message),
            observed_generation: self.generation,
            reason: why.reason.to_owned(),
            status: status.as_str().to_owned(),
            type_: kind.as_str().to_owned(),
        }
    }

    /// `Ready`, `Reconciling` and `Stalled`: what kstatus reads.
    fn summary(&self, phase: Phase, why: Why<'_>) -> [Condition; 3] {
        let (ready, reconciling, stalled) = match phase {
            Phase::Pending | Phase::Starting | Phase::BackOff => (false, true, false),
            Phase::Running | Phase::Suspended | Phase::Complete => (true, false, false),
            Phase::Failed => (false, false, true),
        };
        [
            (ConditionType::Ready, ready),
            (ConditionType::Reconciling, reconciling),
            (ConditionType::Stalled, stalled),
        ]
        .map(|(kind, value)| self.condition(kind, Status::of(value), why))
    }
}

impl Phase {
    /// Every phase, in the order of a life.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Starting,
        Self::Running,
        Self::BackOff,
        Self::Suspended,
        Self::Complete,
        Self::Failed,
    ];

    /// The phase as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::BackOff => "BackOff",
            Self::Suspended => "Suspended",
            Self::Complete => "Complete",
            Self::Failed => "Failed",
        }
    }

    /// Whether nothing follows: the object stays ended whatever its spec becomes.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Complete | Self::Failed => true,
            Self::Pending | Self::Starting | Self::Running | Self::BackOff | Self::Suspended => {
                false
            }
        }
    }
}

#[cfg(test)]
mod tests;
