//! Shows that each guard holds something back: without it, what it refuses is granted.

use agentvm_policy::guards::{Guard, switch_off};
use agentvm_policy::{ClockGrant, LimitRequest, PolicyRules, Request, effective};

fn memory(bytes: u64) -> LimitRequest {
    LimitRequest {
        memory_bytes: Some(bytes),
        ..LimitRequest::default()
    }
}

fn asks_for(limits: LimitRequest) -> Request {
    Request {
        limits,
        ..Request::default()
    }
}

fn policy(max: LimitRequest, default: LimitRequest) -> PolicyRules {
    PolicyRules {
        name: "mutant".to_owned(),
        max,
        default,
        ..PolicyRules::default()
    }
}

#[test]
fn without_the_built_in_bounds_a_vm_gets_a_terabyte() {
    let request = asks_for(memory(1 << 40));
    assert!(!effective(&request, &[]).refused.is_empty());
    let verdict = switch_off(Guard::BuiltInBounds, || effective(&request, &[]));
    assert_eq!(verdict.grants.limits.memory_bytes, 1 << 40);
}

#[test]
fn without_the_ceiling_a_vm_gets_more_than_its_policy_allows() {
    let (request, policies) = (
        asks_for(memory(2 << 20)),
        [policy(memory(1 << 20), LimitRequest::default())],
    );
    assert!(!effective(&request, &policies).refused.is_empty());
    let verdict = switch_off(Guard::Ceiling, || effective(&request, &policies));
    assert_eq!(verdict.grants.limits.memory_bytes, 2 << 20);
}

#[test]
fn without_the_cut_a_default_climbs_over_the_ceiling() {
    let (request, policies) = (
        Request::default(),
        [policy(memory(1 << 20), memory(2 << 20))],
    );
    let verdict = effective(&request, &policies);
    assert_eq!(verdict.grants.limits.memory_bytes, 1 << 20);
    let verdict = switch_off(Guard::DefaultCut, || effective(&request, &policies));
    assert_eq!(verdict.grants.limits.memory_bytes, 2 << 20);
}

#[test]
fn without_the_capability_check_a_vm_measures_nanoseconds() {
    let request = Request {
        clock_resolution_ns: Some(1),
        ..Request::default()
    };
    let silent = [policy(LimitRequest::default(), LimitRequest::default())];
    for policies in [&silent[..], &[]] {
        assert_eq!(effective(&request, policies).grants.clock, None);
        let verdict = switch_off(Guard::Capability, || effective(&request, policies));
        assert_eq!(verdict.grants.clock, Some(ClockGrant { resolution_ns: 1 }));
    }
}

#[test]
fn without_the_check_of_secret_mounts_a_vm_reads_every_secret_of_its_namespace() {
    let request = Request {
        secret_mounts: vec!["spec.mounts[0].secret".to_owned()],
        ..Request::default()
    };
    let silent = [policy(LimitRequest::default(), LimitRequest::default())];
    for policies in [&silent[..], &[]] {
        assert_eq!(effective(&request, policies).refused.len(), 1);
        let verdict = switch_off(Guard::SecretMounts, || effective(&request, policies));
        assert!(verdict.refused.is_empty());
    }
}
