//! What is said of a VM that has nearly used up a limit, or is delayed by one.

use std::fmt;

use agentvm_policy::LimitField;

use super::{At, Condition, ConditionType, LimitsReason, Status, Why};

/// A limit that presses. Its text names use and limit, and the field that a user raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pressing {
    /// Which limit.
    pub field: LimitField,
    /// How much of it is used, in the field's own unit; of `cpu`, which delays, nothing.
    pub used: Option<u64>,
    /// How much is allowed, in the same unit.
    pub limit: u64,
}

impl Pressing {
    fn percent(self) -> Option<u128> {
        let used = u128::from(self.used?).saturating_mul(100);
        used.checked_div(u128::from(self.limit))
    }
}

impl fmt::Display for Pressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, used, limit } = *self;
        let (name, limit) = (field.name(), field.show(limit));
        match (used, self.percent()) {
            (Some(used), Some(percent)) => write!(
                f,
                "{percent} % of limits.{name} is used, {} of {limit}",
                field.show_about(used)
            ),
            (_, _) if field == LimitField::Cpu => write!(
                f,
                "it was delayed for most of the last minute by limits.cpu of {limit}"
            ),
            (_, _) => write!(f, "limits.{name} of {limit} is nearly used up"),
        }?;
        write!(f, " (raise {})", field.path())
    }
}

/// What `pressing` comes to, in one sentence: for conditions, events and terminals.
pub fn pressing_sentence(pressing: &[Pressing]) -> String {
    let said: Vec<String> = told(pressing).map(|(_, one)| one.to_string()).collect();
    super::sentence(&said.join("; "))
}

/// The condition of a VM that limits press; `None` where none does.
///
/// Push it to the conditions of [`agent`](super::agent) while that is so, as it was when a limit
/// was added or taken away: a message that follows the use costs a write each time.
pub fn limits_pressure(at: &At<'_>, pressing: &[Pressing]) -> Option<Condition> {
    let mut reasons = told(pressing).map(|(reason, _)| reason);
    let first = reasons.next()?;
    let reason = reasons
        .next()
        .map_or(first, |_| LimitsReason::SeveralLimits);
    let why = Why {
        reason: reason.as_str(),
        message: &pressing_sentence(pressing),
    };
    Some(at.condition(ConditionType::LimitsPressure, Status::True, why))
}

/// Those of which the API speaks: a newer cell may know of others.
fn told(pressing: &[Pressing]) -> impl Iterator<Item = (LimitsReason, &Pressing)> {
    let reasons = pressing.iter().map(|one| LimitsReason::of(one.field));
    reasons
        .zip(pressing)
        .filter_map(|(reason, one)| Some((reason?, one)))
}

impl LimitsReason {
    /// The reason of one limit; `None` where it can't press.
    pub const fn of(field: LimitField) -> Option<Self> {
        match field {
            LimitField::Memory => Some(Self::MemoryPressure),
            LimitField::Cpu => Some(Self::CpuPressure),
            LimitField::Fuel => Some(Self::FuelPressure),
            LimitField::LogTotal => Some(Self::LogPressure),
            LimitField::Storage => Some(Self::StoragePressure),
            LimitField::Egress => Some(Self::EgressPressure),
            LimitField::Timeout
            | LimitField::LogRate
            | LimitField::Inodes
            | LimitField::OpenFiles
            | LimitField::Connections
            | LimitField::EgressRate => None,
        }
    }
}
