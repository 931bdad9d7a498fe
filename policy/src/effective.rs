//! The one place that turns what is asked and what is ruled into what is granted.
//!
//! What holds, whatever the order of the policies:
//!
//! | question | answer |
//! | --- | --- |
//! | limit named by the manifest | granted as asked, or refused: never clamped in silence |
//! | limit not named | the lowest default of the `Enforce` policies, else the built-in one, cut to their lowest ceiling |
//! | capability | refused without a policy; with policies, refused where one `Enforce` policy does not allow it |
//! | outside the built-in minimum or maximum | refused, whatever a policy says |
//!
//! An `Audit` policy takes nothing away: its defaults do not apply and what it does not allow
//! is granted and reported. It counts as a policy, so a namespace with nothing but `Audit`
//! policies is granted every capability that it asks for.

mod clock;
mod egress;
mod limit;
mod secret;

use crate::egress::EgressGrant;
use crate::{Grants, Mode, PolicyRules, Request};

/// The outcome of [`effective`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the VM may do; nothing at all where `refused` has an entry.
    pub grants: Grants,
    /// The requests it may make; none where `refused` has an entry.
    pub egress: EgressGrant,
    /// What was asked and is not allowed: the VM must not run.
    pub refused: Vec<Refusal>,
    /// What an `Audit` policy would have refused: the VM runs, the refusal is reported.
    pub audited: Vec<Refusal>,
}

/// One thing asked that a policy, or the absence of one, does not allow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Path of the field that asks, such as `spec.limits.memory`.
    pub field: String,
    /// The policy that refuses; `None` where no policy selects the namespace or the
    /// built-in bounds are exceeded.
    pub policy: Option<String>,
    /// The whole sentence for a person: what was asked, what is allowed.
    pub message: String,
}

/// Cuts `request` with every policy in `policies`.
///
/// The strictest ceiling and the lowest default of all policies hold, whatever their order.
/// With no policy a VM computes under the built-in limits and gets no capability.
pub fn effective(request: &Request, policies: &[PolicyRules]) -> Verdict {
    let mut sorted: Vec<&PolicyRules> = policies.iter().collect();
    sorted.sort();
    let mut verdict = Verdict::default();
    let limits = limit::decide(&request.limits, &sorted, &mut verdict);
    let clock = clock::decide(request.clock_resolution_ns, &sorted, &mut verdict);
    secret::decide(&request.secret_mounts, &sorted, &mut verdict);
    let egress = egress::decide(&request.egress, &sorted, &mut verdict);
    if verdict.refused.is_empty() {
        verdict.grants = Grants {
            limits,
            clock,
            network: !egress.is_empty(),
        };
        verdict.egress = egress;
    }
    verdict
}

impl Verdict {
    fn report(&mut self, mode: Mode, refusal: Refusal) {
        match mode {
            Mode::Enforce => self.refused.push(refusal),
            Mode::Audit => self.audited.push(refusal),
        }
    }
}
