//! The truth table of every phase, judged by the generic rules of kstatus.

mod bounds;
mod pressure;

use agentvm_policy::EndReason;

use super::{
    AcceptedReason, AgentView, At, Cause, Condition, ConditionType, ImageReason, OperatorView,
    PlacedReason, Report, Time, agent, operator,
};
use crate::agentvm::Phase;

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
