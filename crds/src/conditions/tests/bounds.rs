//! What is told is bounded, and takes a form that the API server takes.

use agentvm_policy::{EndReason, LimitField};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::super::{
    AcceptedReason, AgentView, Cause, ImageReason, MAX_MESSAGE_BYTES, OperatorView, Pressing,
    agent, limits_pressure, operator, sentence, storage_pressure,
};
use super::{agent_views, at, noon, operator_views};
use crate::agentvm::{
    AgentVMStatus, Assignment, Claimed, EffectiveStatus, ExitStatus, Fault, NetworkUsage, Phase,
};

#[test]
fn h07_a_guests_words_are_sanitised_in_every_condition() {
    let noon = noon();
    let hostile = format!("\x1b[2J{}\n", "z".repeat(4_000));
    let view = AgentView::Failed {
        cause: Cause::Ended(EndReason::Error),
        message: &hostile,
    };
    for condition in agent(&view, &at(&noon, &[])).conditions {
        assert!(condition.message.len() <= MAX_MESSAGE_BYTES);
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
            message: sentence(&hostile),
            finished_at: Some(noon.clone()),
            cpu_millis: Some(i64::MAX),
            memory_peak_bytes: Some(i64::MAX),
            network: Some(NetworkUsage {
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
fn audited_network() -> EffectiveStatus {
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
    EffectiveStatus::from(&verdict)
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
