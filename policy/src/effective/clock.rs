//! The clock capability: a step finer than the one that every VM has.

use super::{Refusal, Verdict};
use crate::guards::{Guard, is_on};
use crate::{ClockGrant, PolicyRules, human};

const CLOCK_FIELD: &str = "spec.capabilities.clock.resolution";

/// The clock that is granted. What is not allowed goes to `verdict`.
pub(super) fn decide(
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
    if !is_on(Guard::Capability) {
        return Some(ClockGrant {
            resolution_ns: asked,
        });
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
