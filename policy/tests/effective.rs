//! The rules of `effective` as a table.

use agentvm_policy::{
    ClockGrant, Grants, LimitField, LimitRequest, Limits, Mode, PolicyRules, Request, Verdict,
    effective,
};

const MIB: u64 = 1 << 20;

fn asks(limits: LimitRequest) -> Request {
    Request {
        limits,
        ..Request::default()
    }
}

fn clock(resolution_ns: u64) -> Request {
    Request {
        clock_resolution_ns: Some(resolution_ns),
        ..Request::default()
    }
}

fn memory(bytes: u64) -> LimitRequest {
    LimitRequest {
        memory_bytes: Some(bytes),
        ..LimitRequest::default()
    }
}

fn policy(name: &str) -> PolicyRules {
    PolicyRules {
        name: name.to_owned(),
        ..PolicyRules::default()
    }
}

fn messages(verdict: &Verdict) -> Vec<&str> {
    verdict
        .refused
        .iter()
        .map(|refusal| refusal.message.as_str())
        .collect()
}

#[test]
fn the_default_grants_permit_nothing() {
    let Grants {
        limits,
        clock,
        network,
    } = Grants::default();
    assert!(!network);
    let nothing = Limits {
        memory_bytes: 0,
        cpu_millicores: 0,
        fuel: None,
        timeout_ms: None,
        log_rate_bytes_per_second: 0,
        log_total_bytes: 0,
        storage_bytes: 0,
        inodes: 0,
        open_files: 0,
        connections: 0,
        egress_bytes: 0,
        egress_bytes_per_second: 0,
    };
    assert_eq!((limits, clock), (nothing, None));
}

#[test]
fn what_was_measured_is_told_in_a_few_digits_and_never_as_more() {
    let cases = [
        (LimitField::Memory, 64 * MIB - 1, "63Mi"),
        (LimitField::Storage, 10 * MIB - 1, "10239Ki"),
        (LimitField::LogTotal, 9, "9"),
        (LimitField::Fuel, 4_812_345_678, "4812M"),
        (LimitField::Fuel, u64::MAX, "18000P"),
        (LimitField::Inodes, 0, "0"),
        (LimitField::Cpu, 249, "249m"),
    ];
    for (field, value, shown) in cases {
        assert_eq!(field.show_about(value), shown, "{field:?} {value}");
    }
}

#[test]
fn without_a_policy_the_built_in_defaults_hold() {
    let verdict = effective(&Request::default(), &[]);
    let expected = Limits {
        memory_bytes: 64 * MIB,
        cpu_millicores: 250,
        fuel: None,
        timeout_ms: None,
        log_rate_bytes_per_second: 64 << 10,
        log_total_bytes: 1 << 30,
        storage_bytes: 64 * MIB,
        inodes: 16_384,
        open_files: 128,
        connections: 32,
        egress_bytes: 100 * MIB,
        egress_bytes_per_second: 10 * MIB,
    };
    assert_eq!(
        verdict,
        Verdict {
            grants: Grants {
                limits: expected,
                ..Grants::default()
            },
            ..Verdict::default()
        }
    );
}

#[test]
fn a_request_within_the_bounds_is_granted_as_asked() {
    let asked = LimitRequest {
        memory_bytes: Some(MIB),
        cpu_millicores: Some(10),
        fuel: Some(5_000_000),
        timeout_ms: Some(100),
        log_rate_bytes_per_second: Some(1 << 10),
        log_total_bytes: Some(1 << 40),
        storage_bytes: Some(64 << 10),
        inodes: Some(16),
        open_files: Some(1_024),
        connections: Some(1),
        egress_bytes: Some(0),
        egress_bytes_per_second: Some(1 << 10),
    };
    let limits = effective(&asks(asked), &[]).grants.limits;
    assert_eq!(
        limits,
        Limits {
            memory_bytes: MIB,
            cpu_millicores: 10,
            fuel: Some(5_000_000),
            timeout_ms: Some(100),
            log_rate_bytes_per_second: 1 << 10,
            log_total_bytes: 1 << 40,
            storage_bytes: 64 << 10,
            inodes: 16,
            open_files: 1_024,
            connections: 1,
            egress_bytes: 0,
            egress_bytes_per_second: 1 << 10,
        }
    );
}

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
