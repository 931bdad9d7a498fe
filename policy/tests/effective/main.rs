//! The rules of `effective` as a table.

mod bounds;
mod capabilities;
mod defaults;

use agentvm_policy::{
    Grants, LimitField, LimitRequest, Limits, PolicyRules, Request, Verdict, effective,
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
