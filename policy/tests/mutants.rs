//! Shows that each guard holds something back: without it, what it refuses is granted.

use agentvm_policy::egress::RuleText;
use agentvm_policy::guards::{Guard, switch_off};
use agentvm_policy::{ClockGrant, EgressAsk, LimitRequest, PolicyRules, Request, effective};

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

fn ask(rule: RuleText, injects: bool) -> Request {
    Request {
        egress: vec![EgressAsk { rule, injects }],
        ..Request::default()
    }
}

#[test]
fn f32_without_the_ceiling_of_rules_a_vm_reaches_every_host() {
    let request = ask(RuleText::new("*", &["*"], &["*"]), false);
    let narrow = PolicyRules {
        egress: Some(vec![RuleText::new("api.example.com", &["GET"], &["*"])]),
        ..policy(LimitRequest::default(), LimitRequest::default())
    };
    let silent = policy(LimitRequest::default(), LimitRequest::default());
    for policies in [&[narrow][..], &[silent], &[]] {
        let verdict = effective(&request, policies);
        assert_eq!((verdict.refused.len(), verdict.grants.network), (1, false));
        let verdict = switch_off(Guard::EgressCeiling, || effective(&request, policies));
        assert!(verdict.grants.network && verdict.egress.rules.len() == 1);
    }
}

#[test]
fn f05_without_the_ceiling_of_networks_one_policy_opens_what_another_does_not() {
    let request = ask(RuleText::new("api.example.com", &["GET"], &["*"]), false);
    let opening = |networks: &[&str]| PolicyRules {
        egress: Some(vec![RuleText::new("*", &["*"], &["*"])]),
        networks: networks
            .iter()
            .filter_map(|text| text.parse().ok())
            .collect(),
        ..policy(LimitRequest::default(), LimitRequest::default())
    };
    let policies = [opening(&["10.20.0.0/16"]), opening(&[])];
    assert_eq!(effective(&request, &policies).egress.networks, []);
    let verdict = switch_off(Guard::NetworkCeiling, || effective(&request, &policies));
    assert_eq!(verdict.egress.networks.len(), 1);
}

#[test]
fn h02_without_the_rule_on_origins_a_key_goes_wherever_a_name_leads() {
    let policies = [PolicyRules {
        egress: Some(vec![RuleText::new("*", &["*"], &["*"])]),
        ..policy(LimitRequest::default(), LimitRequest::default())
    }];
    let request = ask(RuleText::new("*", &["GET"], &["*"]), true);
    assert!(!effective(&request, &policies).grants.network);
    let verdict = switch_off(Guard::OneOrigin, || effective(&request, &policies));
    assert!(verdict.grants.network);
}
