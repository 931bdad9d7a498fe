//! What is granted where the manifest does not say.

use agentvm_policy::{LimitRequest, Mode, PolicyRules, Request, effective};

use super::{MIB, memory, policy};

#[test]
fn what_the_manifest_does_not_name_is_the_lowest_default() {
    let policies = [("a", 96), ("b", 80)].map(|(name, mib)| PolicyRules {
        default: memory(mib * MIB),
        ..policy(name)
    });
    assert_eq!(
        effective(&Request::default(), &policies)
            .grants
            .limits
            .memory_bytes,
        80 * MIB
    );
}

#[test]
fn a_default_above_a_ceiling_is_cut_to_the_ceiling() {
    let low = PolicyRules {
        max: memory(16 * MIB),
        ..policy("low")
    };
    let high = PolicyRules {
        default: memory(512 * MIB),
        ..policy("high")
    };
    let verdict = effective(&Request::default(), &[high, low]);
    assert_eq!(verdict.grants.limits.memory_bytes, 16 * MIB);
    assert_eq!(
        verdict.refused,
        [],
        "nothing was asked, so nothing is refused"
    );
}

#[test]
fn an_unlimited_default_is_cut_to_the_ceiling() {
    let max = LimitRequest {
        fuel: Some(5_000),
        timeout_ms: Some(60_000),
        ..LimitRequest::default()
    };
    let limits = effective(&Request::default(), &[PolicyRules { max, ..policy("p") }])
        .grants
        .limits;
    assert_eq!(
        (limits.fuel, limits.timeout_ms),
        (Some(5_000), Some(60_000))
    );
}

#[test]
fn a_default_of_an_audit_policy_changes_nothing() {
    let watcher = PolicyRules {
        mode: Mode::Audit,
        default: memory(MIB),
        max: memory(MIB),
        ..policy("watcher")
    };
    assert_eq!(
        effective(&Request::default(), &[watcher])
            .grants
            .limits
            .memory_bytes,
        64 * MIB
    );
}
