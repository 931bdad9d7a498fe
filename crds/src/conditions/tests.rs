//! The truth table of every phase, judged by the generic rules of kstatus.

use agentvm_policy::{EndReason, LimitField};

use super::{
    AcceptedReason, AgentView, At, Cause, Condition, ConditionType, ImageReason, LimitsReason,
    MAX_MESSAGE_BYTES, OperatorView, PlacedReason, Pressing, Report, Time, agent, limits_pressure,
    operator, storage_pressure,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::agentvm::{Claimed, Phase};

/// What kstatus says of an object.
#[derive(Debug, PartialEq, Eq)]
enum Kstatus {
    InProgress,
    Failed,
    Current,
}

/// The generic rules of `sigs.k8s.io/cli-utils/pkg/kstatus`: first the generation, then
/// `Reconciling` and `Stalled` in the order of the list, then `Ready`.
fn kstatus(generation: i64, report: &Report) -> Kstatus {
    if report
        .observed_generation
        .is_some_and(|seen| seen != generation)
    {
        return Kstatus::InProgress;
    }
    for condition in &report.conditions {
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("Reconciling", "True") => return Kstatus::InProgress,
            ("Stalled", "True") => return Kstatus::Failed,
            _ => {}
        }
    }
    match status_of(report, ConditionType::Ready) {
        Some("True") | None => Kstatus::Current,
        Some(_) => Kstatus::InProgress,
    }
}

fn status_of(report: &Report, kind: ConditionType) -> Option<&str> {
    report
        .conditions
        .iter()
        .find(|one| one.type_ == kind.as_str())
        .map(|one| one.status.as_str())
}

fn time(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn noon() -> Time {
    time("2030-01-01T12:00:00Z")
}

fn at<'a>(now: &'a Time, previous: &'a [Condition]) -> At<'a> {
    At {
        generation: Some(7),
        now,
        previous,
    }
}

fn agent_views() -> Vec<(AgentView<'static>, Phase, Kstatus)> {
    let trap = Cause::Ended(EndReason::Trap);
    let absent = Cause::Image(ImageReason::ConfigMapNotFound);
    let refused = Cause::Refused(AcceptedReason::PolicyRefused);
    vec![
        (AgentView::Starting, Phase::Starting, Kstatus::InProgress),
        (AgentView::Running, Phase::Running, Kstatus::Current),
        (
            AgentView::BackOff {
                cause: trap,
                message: "m",
            },
            Phase::BackOff,
            Kstatus::InProgress,
        ),
        (
            AgentView::BackOff {
                cause: absent,
                message: "m",
            },
            Phase::BackOff,
            Kstatus::InProgress,
        ),
        (
            AgentView::Released { message: "m" },
            Phase::Pending,
            Kstatus::InProgress,
        ),
        (AgentView::Suspended, Phase::Suspended, Kstatus::Current),
        (
            AgentView::Complete { message: "m" },
            Phase::Complete,
            Kstatus::Current,
        ),
        (
            AgentView::Failed {
                cause: trap,
                message: "m",
            },
            Phase::Failed,
            Kstatus::Failed,
        ),
        (
            AgentView::Failed {
                cause: refused,
                message: "m",
            },
            Phase::Failed,
            Kstatus::Failed,
        ),
    ]
}

fn operator_views() -> Vec<(OperatorView<'static>, Phase, Kstatus)> {
    vec![
        (
            OperatorView::Refused {
                reason: AcceptedReason::InvalidSpec,
                message: "m",
            },
            Phase::Failed,
            Kstatus::Failed,
        ),
        (
            OperatorView::Unplaced {
                reason: PlacedReason::NoNodes,
                message: "m",
            },
            Phase::Pending,
            Kstatus::InProgress,
        ),
        (OperatorView::Suspended, Phase::Suspended, Kstatus::Current),
        (
            OperatorView::Assigning { node: "n1" },
            Phase::Starting,
            Kstatus::InProgress,
        ),
    ]
}

#[test]
fn every_phase_means_the_same_to_kstatus_whoever_reports_it() {
    let noon = noon();
    let mut seen = Vec::new();
    let agents = agent_views()
        .into_iter()
        .map(|(view, phase, status)| (agent(&view, &at(&noon, &[])), phase, status));
    let operators = operator_views()
        .into_iter()
        .map(|(view, phase, status)| (operator(&view, &at(&noon, &[])), phase, status));
    for (report, phase, expected) in agents.chain(operators) {
        assert_eq!(report.phase, Some(phase));
        assert_eq!(kstatus(7, &report), expected, "{phase:?}");
        assert_eq!(
            kstatus(8, &report),
            Kstatus::InProgress,
            "a newer generation is not judged yet"
        );
        seen.push(phase);
    }
    for phase in Phase::ALL {
        assert!(seen.contains(&phase), "{phase:?} has no row");
    }
}

#[test]
fn complete_and_failed_are_true_in_their_own_phase_alone() {
    let noon = noon();
    for (view, phase, _) in agent_views() {
        let report = agent(&view, &at(&noon, &[]));
        for (kind, own) in [
            (ConditionType::Running, Phase::Running),
            (ConditionType::Complete, Phase::Complete),
            (ConditionType::Failed, Phase::Failed),
        ] {
            assert_eq!(
                status_of(&report, kind) == Some("True"),
                phase == own,
                "{kind:?} in {phase:?}"
            );
        }
    }
}

#[test]
fn the_agent_names_every_condition_it_owns_in_every_phase() {
    let noon = noon();
    let owned = [
        "Ready",
        "Reconciling",
        "Stalled",
        "ImageReady",
        "Running",
        "Complete",
        "Failed",
    ];
    for (view, _, _) in agent_views() {
        let report = agent(&view, &at(&noon, &[]));
        let types: Vec<_> = report
            .conditions
            .iter()
            .map(|one| one.type_.as_str())
            .collect();
        assert_eq!(types, owned);
    }
}

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

#[test]
fn the_operator_leaves_the_agents_part_alone_once_a_node_has_it() {
    let noon = noon();
    for refused in [None, Some((AcceptedReason::PolicyRefused, "m"))] {
        let report = operator(
            &OperatorView::Assigned {
                node: "n1",
                refused,
            },
            &at(&noon, &[]),
        );
        let types: Vec<_> = report
            .conditions
            .iter()
            .map(|one| one.type_.as_str())
            .collect();
        assert_eq!(types, ["Accepted", "Placed"]);
        assert_eq!((report.phase, report.observed_generation), (None, None));
        assert_eq!(
            status_of(&report, ConditionType::Accepted) == Some("True"),
            refused.is_none()
        );
    }
}

#[test]
fn a_transition_time_moves_with_the_status_alone() {
    let noon = noon();
    let later = time("2030-01-01T13:00:00Z");
    let before = agent(&AgentView::Starting, &at(&noon, &[])).conditions;
    let after = agent(&AgentView::Running, &at(&later, &before)).conditions;
    let moved: Vec<_> = after
        .iter()
        .filter(|one| one.last_transition_time == later)
        .map(|one| one.type_.as_str())
        .collect();
    assert_eq!(moved, ["Ready", "Reconciling", "ImageReady", "Running"]);
}

#[test]
fn h07_a_guests_words_are_sanitised_in_every_condition() {
    let noon = noon();
    let hostile = format!("\x1b[2J{}\n", "z".repeat(4_000));
    let view = AgentView::Failed {
        cause: Cause::Ended(EndReason::Error),
        message: &hostile,
    };
    for condition in agent(&view, &at(&noon, &[])).conditions {
        assert!(condition.message.len() <= super::MAX_MESSAGE_BYTES);
        assert!(!condition.message.chars().any(char::is_control));
    }
}

#[test]
fn every_condition_is_one_that_the_api_server_takes() {
    let noon = noon();
    let reports = agent_views()
        .into_iter()
        .map(|(view, ..)| agent(&view, &at(&noon, &[])));
    let others = operator_views()
        .into_iter()
        .map(|(view, ..)| operator(&view, &at(&noon, &[])));
    for condition in reports.chain(others).flat_map(|report| report.conditions) {
        assert!(
            condition
                .reason
                .chars()
                .next()
                .is_some_and(|c| c.is_ascii_uppercase()),
            "{condition:?}"
        );
        assert!(
            condition.reason.chars().all(|c| c.is_ascii_alphanumeric()),
            "{condition:?}"
        );
        assert_eq!(condition.observed_generation, Some(7));
    }
}

#[test]
fn h07_the_largest_status_fits_in_16_kib() {
    use crate::agentvm::{AgentVMStatus, Assignment, EffectiveStatus, ExitStatus, Fault};
    let noon = noon();
    let hostile = "\u{1f980}\n".repeat(4_000);
    let cause = Cause::Image(ImageReason::ConfigMapNotFound);
    let mut conditions = agent(
        &AgentView::Failed {
            cause,
            message: &hostile,
        },
        &at(&noon, &[]),
    )
    .conditions;
    conditions.push(storage_pressure(&at(&noon, &[])));
    let all = LimitField::ALL.map(|field| Pressing {
        field,
        used: Some(u64::MAX),
        limit: 1,
    });
    conditions.extend(limits_pressure(&at(&noon, &[]), &all));
    let node = "n".repeat(253);
    let refused = Some((AcceptedReason::PolicyRefused, hostile.as_str()));
    conditions.extend(
        operator(
            &OperatorView::Assigned {
                node: &node,
                refused,
            },
            &at(&noon, &[]),
        )
        .conditions,
    );
    let verdict = agentvm_policy::Verdict {
        refused: (0..500)
            .map(|n| refusal(&format!("{n}-{}", "p".repeat(250))))
            .collect(),
        ..agentvm_policy::Verdict::default()
    };
    let effective = [EffectiveStatus::from(&verdict), audited_network()];
    let status = |effective| AgentVMStatus {
        observed_generation: Some(i64::MAX),
        phase: Some(Phase::Failed),
        conditions: conditions.clone(),
        assignment: Some(Assignment {
            node_name: node.clone(),
            epoch: i64::MAX,
            evict: Some("e".repeat(1024)),
            claimed: Some(Claimed {
                memory: Quantity("9".repeat(32)),
                cpu: Quantity("9".repeat(32)),
            }),
        }),
        effective: Some(effective),
        reported_uid: Some("0".repeat(36)),
        released_epoch: Some(i64::MAX),
        module_digest: Some(format!("sha256:{}", "f".repeat(64))),
        restarts: Some(i32::MAX),
        started_at: Some(noon.clone()),
        exit: Some(ExitStatus {
            code: Some(i32::MIN),
            reason: "DeadlineExceeded".to_owned(),
            fault: Some(Fault::Platform),
            field: Some("spec.limits.timeout".to_owned()),
            message: super::sentence(&hostile),
            finished_at: Some(noon.clone()),
            cpu_millis: Some(i64::MAX),
            memory_peak_bytes: Some(i64::MAX),
            network: Some(crate::agentvm::NetworkUsage {
                answered: i64::MAX,
                refused: i64::MAX,
                sent_bytes: i64::MAX,
                received_bytes: i64::MAX,
            }),
        }),
    };
    for effective in effective {
        let bytes = serde_json::to_string(&status(effective)).unwrap().len();
        assert!((8_000..=16_000).contains(&bytes), "{bytes}");
    }
}

/// As many and as long rules as there can be, all of which an `Audit` policy would refuse.
fn audited_network() -> crate::agentvm::EffectiveStatus {
    let rule = |number: usize| {
        let path = |other: usize| format!("/{number}/{other}/{}", "a".repeat(1_000));
        let host = format!("{number}.{}", "a.".repeat(110) + "example.com");
        agentvm_policy::egress::RuleText {
            paths: (0..32).map(path).collect(),
            ..agentvm_policy::egress::RuleText::new(&host, &["*"], &[])
        }
    };
    let ask = |rule| agentvm_policy::EgressAsk {
        rule,
        injects: false,
    };
    let policy = agentvm_policy::PolicyRules {
        name: "p".repeat(253),
        mode: agentvm_policy::Mode::Audit,
        egress: Some((0..32).map(|number| rule(number + 100)).collect()),
        ..agentvm_policy::PolicyRules::default()
    };
    let request = agentvm_policy::Request {
        egress: (0..32).map(rule).map(ask).collect(),
        ..agentvm_policy::Request::default()
    };
    let verdict = agentvm_policy::effective(&request, &[policy]);
    assert_eq!((verdict.refused.len(), verdict.audited.len()), (0, 32));
    crate::agentvm::EffectiveStatus::from(&verdict)
}

fn refusal(policy: &str) -> agentvm_policy::Refusal {
    agentvm_policy::Refusal {
        field: "spec.limits.memory".to_owned(),
        policy: Some(policy.to_owned()),
        message: format!(
            "spec.limits.memory asks for 128Mi, AgentPolicy {policy:?} allows at most 64Mi"
        ),
    }
}
