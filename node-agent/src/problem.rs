//! Why a VM could not be started, and whether trying again can help.

use agentvm_crds::conditions::{AcceptedReason, Cause, ImageReason, sentence};
use agentvm_policy::EndReason;

/// Why a VM could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable, for conditions.
    pub reason: StartReason,
    /// One sentence for a person.
    pub message: String,
}

impl Problem {
    /// A problem with its sentence.
    pub fn new(reason: StartReason, message: impl AsRef<str>) -> Self {
        Self {
            reason,
            message: sentence(message.as_ref()),
        }
    }
}

/// The closed list of reasons for which a start does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StartReason {
    /// What it needs is not there, or is unfit.
    Image(ImageReason),
    /// The specification is wrong.
    InvalidSpec,
    /// The host can't do it now: no free slot, or it failed.
    Host,
}

impl StartReason {
    /// The reason as it stands in conditions.
    pub const fn cause(self) -> Cause {
        match self {
            Self::Image(reason) => Cause::Image(reason),
            Self::InvalidSpec => Cause::Refused(AcceptedReason::InvalidSpec),
            Self::Host => Cause::Ended(EndReason::HostError),
        }
    }

    /// True where no later attempt can go better.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Image(reason) => !reason.is_retried(),
            Self::InvalidSpec => true,
            Self::Host => false,
        }
    }
}
