//! What presses is told beside the phase, and judged by nobody.

use agentvm_policy::LimitField;

use super::super::{
    ConditionType, LimitsReason, MAX_MESSAGE_BYTES, Pressing, agent, limits_pressure,
    storage_pressure,
};
use super::{agent_views, at, kstatus, noon, status_of};

#[test]
fn pressure_changes_nothing_for_kstatus() {
    let noon = noon();
    for (view, _, expected) in agent_views() {
        let mut report = agent(&view, &at(&noon, &[]));
        report.conditions.push(storage_pressure(&at(&noon, &[])));
        report
            .conditions
            .extend(limits_pressure(&at(&noon, &[]), &[pressing_memory()]));
        for kind in [
            ConditionType::StoragePressure,
            ConditionType::LimitsPressure,
        ] {
            assert_eq!(status_of(&report, kind), Some("True"));
        }
        assert_eq!(kstatus(7, &report), expected);
        report.conditions.rotate_right(2);
        assert_eq!(kstatus(7, &report), expected, "whatever the order");
    }
}

fn pressing_memory() -> Pressing {
    Pressing {
        field: LimitField::Memory,
        used: Some((61 << 20) + 12_345),
        limit: 64 << 20,
    }
}

#[test]
fn the_pressure_of_limits_is_told_with_use_limit_and_what_to_raise() {
    let noon = noon();
    let told = |pressing: &[Pressing]| {
        let condition = limits_pressure(&at(&noon, &[]), pressing).unwrap();
        (condition.reason, condition.message)
    };
    let memory = "95 % of limits.memory is used, 61Mi of 64Mi (raise spec.limits.memory)";
    let cpu =
        "it was delayed for most of the last minute by limits.cpu of 250m (raise spec.limits.cpu)";
    let pressing_cpu = Pressing {
        field: LimitField::Cpu,
        used: None,
        limit: 250,
    };
    let cases: [(&[Pressing], LimitsReason, String); 3] = [
        (
            &[pressing_memory()],
            LimitsReason::MemoryPressure,
            memory.to_owned(),
        ),
        (&[pressing_cpu], LimitsReason::CpuPressure, cpu.to_owned()),
        (
            &[pressing_memory(), pressing_cpu],
            LimitsReason::SeveralLimits,
            format!("{memory}; {cpu}"),
        ),
    ];
    for (pressing, reason, message) in cases {
        assert_eq!(told(pressing), (reason.as_str().to_owned(), message));
    }
    assert_eq!(limits_pressure(&at(&noon, &[]), &[]), None);
}

#[test]
fn every_limit_that_presses_fits_into_one_message() {
    let noon = noon();
    for used in [None, Some(0), Some(u64::MAX)] {
        let all = LimitField::ALL.map(|field| Pressing {
            field,
            used,
            limit: field.max(),
        });
        let condition = limits_pressure(&at(&noon, &[]), &all).unwrap();
        assert!(condition.message.len() <= MAX_MESSAGE_BYTES);
        for field in LimitField::ALL {
            let raise = format!("(raise {})", field.path());
            assert_eq!(
                condition.message.contains(&raise),
                LimitsReason::of(field).is_some(),
                "{condition:?}"
            );
        }
    }
}
