//! Limits: granted as asked or refused, and what holds where nothing is asked.

use super::{Refusal, Verdict};
use crate::guards::{Guard, is_on};
use crate::{LimitField, LimitRequest, Limits, Mode, PolicyRules};

/// Every limit: as asked, or by default. What is not allowed goes to `verdict`.
pub(super) fn decide(
    asked: &LimitRequest,
    policies: &[&PolicyRules],
    verdict: &mut Verdict,
) -> Limits {
    let [
        memory,
        cpu,
        fuel,
        timeout,
        log_rate,
        log_total,
        storage,
        inodes,
        open_files,
        connections,
        egress,
        egress_rate,
    ] = LimitField::ALL.map(|field| decide_limit(field, field.of(asked), policies, verdict));
    Limits {
        memory_bytes: memory.unwrap_or_default(),
        cpu_millicores: cpu.unwrap_or_default(),
        fuel,
        timeout_ms: timeout,
        log_rate_bytes_per_second: log_rate.unwrap_or_default(),
        log_total_bytes: log_total.unwrap_or_default(),
        storage_bytes: storage.unwrap_or_default(),
        inodes: inodes.unwrap_or_default(),
        open_files: open_files.unwrap_or_default(),
        connections: connections.unwrap_or_default(),
        egress_bytes: egress.unwrap_or_default(),
        egress_bytes_per_second: egress_rate.unwrap_or_default(),
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
    if let Some(rule) = built_in_rule(field, asked).filter(|_| is_on(Guard::BuiltInBounds)) {
        verdict.refused.push(Refusal {
            field: field.path(),
            policy: None,
            message: format!("{} asks for {}, {rule}", field.path(), field.show(asked)),
        });
        return None;
    }
    for policy in policies {
        let ceiling = field.of(&policy.max).filter(|ceiling| asked > *ceiling);
        if let Some(ceiling) = ceiling.filter(|_| is_on(Guard::Ceiling)) {
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
    let ceiling = ceiling.filter(|_| is_on(Guard::DefaultCut));
    let built_in = named.or(ceiling).map(|_| field.max());
    [named.or(field.default()), ceiling, built_in]
        .into_iter()
        .flatten()
        .min()
}
