//! What is asked for, against the built-in bounds and policies' ceilings.

use agentvm_policy::{Grants, LimitRequest, Mode, PolicyRules, effective};

use super::{MIB, asks, memory, messages, policy};

/// A request for one limit.
fn one(ask: impl FnOnce(&mut LimitRequest)) -> LimitRequest {
    let mut request = LimitRequest::default();
    ask(&mut request);
    request
}

#[rustfmt::skip]
#[test]
fn outside_the_built_in_bounds_is_refused_with_a_sentence() {
    let cases = [
        (one(|ask| ask.memory_bytes = Some(2 << 30)), "spec.limits.memory asks for 2Gi, the largest value is 1Gi"),
        (one(|ask| ask.memory_bytes = Some(1 << 10)), "spec.limits.memory asks for 1Ki, the smallest value is 64Ki"),
        (one(|ask| ask.cpu_millicores = Some(1_500)), "spec.limits.cpu asks for 1500m, the largest value is 1"),
        (one(|ask| ask.fuel = Some(999)), "spec.limits.fuel asks for 999, the smallest value is 1k"),
        (one(|ask| ask.timeout_ms = Some(31 * 24 * 3_600_000)), "spec.limits.timeout asks for 744h, the largest value is 720h"),
        (one(|ask| ask.log_rate_bytes_per_second = Some(0)), "spec.limits.logRate asks for 0, the smallest value is 1Ki"),
        (one(|ask| ask.log_total_bytes = Some((1 << 40) + 1)), "spec.limits.logTotal asks for 1099511627777, the largest value is 1Ti"),
        (one(|ask| ask.log_total_bytes = Some(1 << 10)), "spec.limits.logTotal asks for 1Ki, the smallest value is 64Ki"),
        (one(|ask| ask.storage_bytes = Some(2 << 30)), "spec.limits.storage asks for 2Gi, the largest value is 1Gi"),
        (one(|ask| ask.storage_bytes = Some(1 << 10)), "spec.limits.storage asks for 1Ki, the smallest value is 64Ki"),
        (one(|ask| ask.inodes = Some(1_000_001)), "spec.limits.inodes asks for 1000001, the largest value is 1M"),
        (one(|ask| ask.inodes = Some(15)), "spec.limits.inodes asks for 15, the smallest value is 16"),
        (one(|ask| ask.open_files = Some(1_025)), "spec.limits.openFiles asks for 1025, the largest value is 1024"),
        (one(|ask| ask.open_files = Some(7)), "spec.limits.openFiles asks for 7, the smallest value is 8"),
    ];
    let generous = PolicyRules {
        mode: Mode::Audit,
        max: memory(1 << 40),
        ..policy("generous")
    };
    for (limits, sentence) in cases {
        for policies in [vec![], vec![generous.clone()]] {
            let verdict = effective(&asks(limits), &policies);
            assert_eq!(messages(&verdict), [sentence]);
            assert_eq!(
                verdict.grants,
                Grants::default(),
                "a refused VM is granted nothing"
            );
        }
    }
}

#[test]
fn above_a_ceiling_is_refused_and_names_policy_and_field() {
    let small = PolicyRules {
        max: memory(64 * MIB),
        ..policy("small")
    };
    let verdict = effective(&asks(memory(128 * MIB)), &[small]);
    assert_eq!(
        messages(&verdict),
        ["spec.limits.memory asks for 128Mi, AgentPolicy \"small\" allows at most 64Mi"]
    );
    let [refusal] = verdict.refused.as_slice() else {
        panic!("one refusal")
    };
    assert_eq!(
        (refusal.field.as_str(), refusal.policy.as_deref()),
        ("spec.limits.memory", Some("small"))
    );
}

#[test]
fn a_request_at_the_ceiling_is_granted() {
    let small = PolicyRules {
        max: memory(64 * MIB),
        ..policy("small")
    };
    assert_eq!(
        effective(&asks(memory(64 * MIB)), &[small])
            .grants
            .limits
            .memory_bytes,
        64 * MIB
    );
}

#[test]
fn every_policy_that_refuses_is_named() {
    let policies = [("b", 32), ("a", 64), ("c", 256)].map(|(name, mib)| PolicyRules {
        max: memory(mib * MIB),
        ..policy(name)
    });
    let verdict = effective(&asks(memory(128 * MIB)), &policies);
    let names: Vec<_> = verdict
        .refused
        .iter()
        .filter_map(|refusal| refusal.policy.as_deref())
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn an_audit_policy_grants_as_asked_and_reports() {
    let watcher = PolicyRules {
        mode: Mode::Audit,
        max: memory(64 * MIB),
        ..policy("watcher")
    };
    let verdict = effective(&asks(memory(128 * MIB)), &[watcher]);
    assert_eq!(verdict.grants.limits.memory_bytes, 128 * MIB);
    assert_eq!((verdict.refused.len(), verdict.audited.len()), (0, 1));
}
