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

use crate::{
    ClockGrant, Grants, LimitField, LimitRequest, Limits, Mode, PolicyRules, Request, human,
};

const CLOCK_FIELD: &str = "spec.capabilities.clock.resolution";

/// The outcome of [`effective`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// What the VM may do; nothing at all where `refused` has an entry.
    pub grants: Grants,
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
    sorted.sort_by(|a, b| a.name.cmp(&b.name));
    let mut verdict = Verdict::default();
    let limits = decide_limits(&request.limits, &sorted, &mut verdict);
    let clock = decide_clock(request.clock_resolution_ns, &sorted, &mut verdict);
    if verdict.refused.is_empty() {
        verdict.grants = Grants { limits, clock };
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

fn decide_limits(asked: &LimitRequest, policies: &[&PolicyRules], verdict: &mut Verdict) -> Limits {
    let [memory, cpu, fuel, timeout, log_rate] =
        LimitField::ALL.map(|field| decide_limit(field, field.of(asked), policies, verdict));
    Limits {
        memory_bytes: memory.unwrap_or_default(),
        cpu_millicores: cpu.unwrap_or_default(),
        fuel,
        timeout_ms: timeout,
        log_rate_bytes_per_second: log_rate.unwrap_or_default(),
    }
}

fn decide_limit(
    field: LimitField,
    asked: Option<u64>,
    policies: &[&PolicyRules],
    verdict: &mut Verdict,
) -> Option<u64> {
    let Some(asked) = asked else {
        return default_limit(field, policies);
    };
    if let Some(rule) = built_in_rule(field, asked) {
        verdict.refused.push(Refusal {
            field: field.path(),
            policy: None,
            message: format!("{} asks for {}, {rule}", field.path(), field.show(asked)),
        });
        return None;
    }
    for policy in policies {
        if let Some(ceiling) = field.of(&policy.max).filter(|ceiling| asked > *ceiling) {
            verdict.report(policy.mode, above_ceiling(field, asked, policy, ceiling));
        }
    }
    Some(asked)
}

fn built_in_rule(field: LimitField, asked: u64) -> Option<String> {
    if asked < field.min() {
        Some(format!("the smallest value is {}", field.show(field.min())))
    } else if asked > field.max() {
        Some(format!("the largest value is {}", field.show(field.max())))
    } else {
        None
    }
}

fn above_ceiling(field: LimitField, asked: u64, policy: &PolicyRules, ceiling: u64) -> Refusal {
    Refusal {
        field: field.path(),
        policy: Some(policy.name.clone()),
        message: format!(
            "{} asks for {}, AgentPolicy {:?} allows at most {}",
            field.path(),
            field.show(asked),
            policy.name,
            field.show(ceiling)
        ),
    }
}

/// `None` is unlimited, which a ceiling turns into the ceiling.
fn default_limit(field: LimitField, policies: &[&PolicyRules]) -> Option<u64> {
    let enforced = || {
        policies
            .iter()
            .filter(|policy| policy.mode == Mode::Enforce)
    };
    let named = enforced()
        .filter_map(|policy| field.of(&policy.default))
        .min();
    let ceiling = enforced().filter_map(|policy| field.of(&policy.max)).min();
    let built_in = named.or(ceiling).map(|_| field.max());
    [named.or(field.default()), ceiling, built_in]
        .into_iter()
        .flatten()
        .min()
}

fn decide_clock(
    asked: Option<u64>,
    policies: &[&PolicyRules],
    verdict: &mut Verdict,
) -> Option<ClockGrant> {
    let asked = asked?;
    if asked == 0 || asked > ClockGrant::COARSEST_NS {
        verdict.refused.push(clock_refusal(
            asked,
            None,
            "the clock's step is between 1ns and 1ms",
        ));
        return None;
    }
    if asked == ClockGrant::COARSEST_NS {
        return None;
    }
    if policies.is_empty() {
        let rule = "no AgentPolicy selects the namespace, and without one every clock steps by 1ms";
        verdict.refused.push(clock_refusal(asked, None, rule));
        return None;
    }
    for policy in policies {
        if let Some(rule) = clock_rule(asked, policy) {
            verdict.report(policy.mode, clock_refusal(asked, Some(policy), &rule));
        }
    }
    Some(ClockGrant {
        resolution_ns: asked,
    })
}

fn clock_rule(asked: u64, policy: &PolicyRules) -> Option<String> {
    match policy.clock_min_resolution_ns {
        None => Some(format!(
            "AgentPolicy {:?} allows no clock finer than 1ms",
            policy.name
        )),
        Some(finest) if asked < finest => Some(format!(
            "AgentPolicy {:?} allows no clock finer than {}",
            policy.name,
            human::duration_ns(finest)
        )),
        Some(_) => None,
    }
}

fn clock_refusal(asked: u64, policy: Option<&PolicyRules>, rule: &str) -> Refusal {
    Refusal {
        field: CLOCK_FIELD.to_owned(),
        policy: policy.map(|policy| policy.name.clone()),
        message: format!(
            "{CLOCK_FIELD} asks for {}, {rule}",
            human::duration_ns(asked)
        ),
    }
}
