//! The closed list of ways in which a run of a VM ends.

use serde::{Deserialize, Serialize};

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EndReason {
    /// The guest ended by itself with exit code 0.
    Completed,
    /// The guest ended by itself with another exit code.
    Error,
    /// The guest trapped (unreachable, out-of-bounds access, stack overflow, ...).
    Trap,
    /// `limits.fuel` is used up.
    OutOfFuel,
    /// The guest trapped after the host refused it memory above `limits.memory`.
    MemoryLimit,
    /// `limits.timeout` has passed.
    DeadlineExceeded,
    /// Stopped because the object was deleted, suspended or changed.
    Stopped,
    /// Stopped because its node or the cell it ran in went away.
    Evicted,
    /// Stopped by the cell because its fencing deadline passed.
    Fenced,
    /// The host failed while it served this VM; never the guest's fault.
    HostError,
}

/// Whose doing an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's: it ended as it should, or was asked to.
    None,
    /// The program's.
    Guest,
    /// The platform's.
    Host,
}

impl EndReason {
    /// Every reason, for tables, metrics and docs.
    pub const ALL: [Self; 10] = [
        Self::Completed,
        Self::Error,
        Self::Trap,
        Self::OutOfFuel,
        Self::MemoryLimit,
        Self::DeadlineExceeded,
        Self::Stopped,
        Self::Evicted,
        Self::Fenced,
        Self::HostError,
    ];

    /// The reason as it stands in conditions, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::Error => "Error",
            Self::Trap => "Trap",
            Self::OutOfFuel => "OutOfFuel",
            Self::MemoryLimit => "MemoryLimit",
            Self::DeadlineExceeded => "DeadlineExceeded",
            Self::Stopped => "Stopped",
            Self::Evicted => "Evicted",
            Self::Fenced => "Fenced",
            Self::HostError => "HostError",
        }
    }

    /// Whose doing it is.
    pub const fn fault(self) -> Fault {
        match self {
            Self::Completed | Self::Stopped => Fault::None,
            Self::Error
            | Self::Trap
            | Self::OutOfFuel
            | Self::MemoryLimit
            | Self::DeadlineExceeded => Fault::Guest,
            Self::Evicted | Self::Fenced | Self::HostError => Fault::Host,
        }
    }

    /// The field a user raises to get further, where there is one.
    pub const fn field_to_raise(self) -> Option<&'static str> {
        match self {
            Self::OutOfFuel => Some("spec.limits.fuel"),
            Self::MemoryLimit => Some("spec.limits.memory"),
            Self::DeadlineExceeded => Some("spec.limits.timeout"),
            Self::Completed
            | Self::Error
            | Self::Trap
            | Self::Stopped
            | Self::Evicted
            | Self::Fenced
            | Self::HostError => None,
        }
    }
}
