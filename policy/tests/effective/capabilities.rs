//! A fine clock, and mounts of Secrets.

use agentvm_policy::{ClockGrant, Grants, Mode, PolicyRules, Request, effective};

use super::{clock, messages, policy};

#[test]
fn a_finer_clock_needs_every_policy_to_allow_it() {
    let allows = |name, ns| PolicyRules {
        clock_min_resolution_ns: Some(ns),
        ..policy(name)
    };
    let asked = 1_000;
    let cases = [
        (
            vec![],
            Some("no AgentPolicy selects the namespace, and without one every clock steps by 1ms"),
        ),
        (
            vec![policy("silent")],
            Some("AgentPolicy \"silent\" allows no clock finer than 1ms"),
        ),
        (
            vec![allows("coarse", 10_000)],
            Some("AgentPolicy \"coarse\" allows no clock finer than 10us"),
        ),
        (
            vec![allows("a", 1), policy("b")],
            Some("AgentPolicy \"b\" allows no clock finer than 1ms"),
        ),
        (vec![allows("a", 1), allows("b", 1_000)], None),
    ];
    for (policies, refusal) in cases {
        let verdict = effective(&clock(asked), &policies);
        match refusal {
            None => assert_eq!(
                verdict.grants.clock,
                Some(ClockGrant {
                    resolution_ns: asked
                })
            ),
            Some(rule) => {
                assert_eq!(
                    messages(&verdict),
                    [format!(
                        "spec.capabilities.clock.resolution asks for 1us, {rule}"
                    )]
                );
                assert_eq!(verdict.grants.clock, None);
            }
        }
    }
}

#[test]
fn a_clock_of_one_millisecond_needs_no_policy_and_no_grant() {
    let verdict = effective(&clock(ClockGrant::COARSEST_NS), &[]);
    assert_eq!((verdict.grants.clock, verdict.refused.len()), (None, 0));
}

#[test]
fn a_clock_outside_its_bounds_is_refused_even_where_it_is_audited() {
    let watcher = PolicyRules {
        mode: Mode::Audit,
        clock_min_resolution_ns: Some(1),
        ..policy("watcher")
    };
    for resolution in [0, ClockGrant::COARSEST_NS + 1] {
        assert_eq!(
            effective(&clock(resolution), std::slice::from_ref(&watcher))
                .refused
                .len(),
            1
        );
    }
}

fn secrets(fields: &[&str]) -> Request {
    Request {
        secret_mounts: fields.iter().map(|field| (*field).to_owned()).collect(),
        ..Request::default()
    }
}

fn with_secrets(name: &str) -> PolicyRules {
    PolicyRules {
        secret_mounts: true,
        ..policy(name)
    }
}

#[test]
fn a_mount_of_a_secret_needs_every_policy_to_allow_it() {
    let silent = "AgentPolicy \"silent\" allows no mount of a Secret, its spec.capabilities.secretMounts is not set";
    let cases = [
        (
            vec![],
            Some("no AgentPolicy selects the namespace, and without one no VM mounts a Secret"),
        ),
        (vec![policy("silent")], Some(silent)),
        (vec![with_secrets("a"), policy("silent")], Some(silent)),
        (vec![with_secrets("a"), with_secrets("b")], None),
    ];
    for (policies, refusal) in cases {
        let verdict = effective(&secrets(&["spec.mounts[1].secret"]), &policies);
        let expected =
            refusal.map(|rule| format!("spec.mounts[1].secret asks for a Secret, {rule}"));
        assert_eq!(messages(&verdict), expected.iter().collect::<Vec<_>>());
        assert_eq!(verdict.grants == Grants::default(), refusal.is_some());
    }
}

#[test]
fn every_mount_of_a_secret_is_named() {
    let fields = ["spec.mounts[0].secret", "spec.mounts[3].secret"];
    let verdict = effective(&secrets(&fields), &[policy("silent")]);
    let named: Vec<_> = verdict
        .refused
        .iter()
        .map(|refusal| refusal.field.as_str())
        .collect();
    assert_eq!(named, fields);
    let [refusal, _] = verdict.refused.as_slice() else {
        panic!("two refusals")
    };
    assert_eq!(refusal.policy.as_deref(), Some("silent"));
}

#[test]
fn an_audit_policy_grants_a_mount_of_a_secret_and_reports_it() {
    let watcher = PolicyRules {
        mode: Mode::Audit,
        ..policy("watcher")
    };
    let verdict = effective(&secrets(&["spec.mounts[0].secret"]), &[watcher]);
    assert_eq!((verdict.refused.len(), verdict.audited.len()), (0, 1));
    assert_ne!(verdict.grants, Grants::default());
}
