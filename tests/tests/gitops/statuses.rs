//! The statuses of every phase, from the very functions that write them, with what each tool
//! should make of it.

use agentvm_crds::agentvm::Phase;
use agentvm_crds::conditions::{
    AcceptedReason, AgentView, At, Cause, ImageReason, OperatorView, PlacedReason, Report, agent,
    operator,
};
use agentvm_policy::EndReason;
use agentvm_tests::Result;
use anyhow::Context as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// What is expected of an object in one of its phases.
pub(crate) struct Row {
    /// Who reported what.
    pub(crate) case: &'static str,
    pub(crate) phase: Phase,
    pub(crate) argo: &'static str,
    pub(crate) kstatus: &'static str,
    pub(crate) object: Value,
}

const MESSAGE: &str = "one sentence";

/// What operators report, with what Argo CD and kstatus should make of it.
fn of_the_operator() -> [(
    &'static str,
    OperatorView<'static>,
    &'static str,
    &'static str,
); 4] {
    let unplaced = OperatorView::Unplaced {
        reason: PlacedReason::Unschedulable,
        message: MESSAGE,
    };
    let refused = OperatorView::Refused {
        reason: AcceptedReason::PolicyRefused,
        message: MESSAGE,
    };
    let assigning = OperatorView::Assigning { node: "flint" };
    [
        ("no node fits", unplaced, "Progressing", "InProgress"),
        ("refused by a policy", refused, "Degraded", "Failed"),
        (
            "suspended before it was placed",
            OperatorView::Suspended,
            "Healthy",
            "Current",
        ),
        ("assigned just now", assigning, "Progressing", "InProgress"),
    ]
}

/// What agents report.
fn of_the_agent() -> [(&'static str, AgentView<'static>, &'static str, &'static str); 8] {
    let waiting = |cause| AgentView::BackOff {
        cause,
        message: MESSAGE,
    };
    let failed = |cause| AgentView::Failed {
        cause,
        message: MESSAGE,
    };
    let trap = Cause::Ended(EndReason::Trap);
    let absent = Cause::Image(ImageReason::ConfigMapNotFound);
    let invalid = Cause::Image(ImageReason::InvalidModule);
    let complete = AgentView::Complete { message: MESSAGE };
    [
        ("starting", AgentView::Starting, "Progressing", "InProgress"),
        ("running", AgentView::Running, "Healthy", "Current"),
        (
            "waiting after a trap",
            waiting(trap),
            "Progressing",
            "InProgress",
        ),
        (
            "waiting for a ConfigMap",
            waiting(absent),
            "Progressing",
            "InProgress",
        ),
        ("suspended", AgentView::Suspended, "Healthy", "Current"),
        ("complete", complete, "Healthy", "Current"),
        ("failed by a trap", failed(trap), "Degraded", "Failed"),
        (
            "failed by its module",
            failed(invalid),
            "Degraded",
            "Failed",
        ),
    ]
}

/// What operator and agent write in each case.
pub(crate) fn rows() -> Result<Vec<Row>> {
    let now = Time("2030-01-01T12:00:00Z".parse()?);
    let at = At {
        generation: Some(1),
        now: &now,
        previous: &[],
    };
    let mut rows = Vec::new();
    for (case, view, argo, kstatus) in of_the_operator() {
        rows.push(row(case, &[operator(&view, &at)], argo, kstatus)?);
    }
    for (case, view, argo, kstatus) in of_the_agent() {
        let placed = operator(
            &OperatorView::Assigned {
                node: "flint",
                refused: None,
            },
            &at,
        );
        rows.push(row(case, &[placed, agent(&view, &at)], argo, kstatus)?);
    }
    Ok(rows)
}

/// An object whose status is what `reports` say together.
fn row(
    case: &'static str,
    reports: &[Report],
    argo: &'static str,
    kstatus: &'static str,
) -> Result<Row> {
    let phase = reports
        .iter()
        .find_map(|report| report.phase)
        .context("someone owns the phase")?;
    let conditions: Vec<_> = reports
        .iter()
        .flat_map(|report| &report.conditions)
        .collect();
    let object = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "heron", "namespace": "default", "generation": 1},
        "spec": {"image": "localhost:5000/heron:v1"},
        "status": {"observedGeneration": 1, "phase": phase.as_str(), "conditions": conditions},
    });
    Ok(Row {
        case,
        phase,
        argo,
        kstatus,
        object,
    })
}

#[test]
fn the_recorded_statuses_are_of_every_phase() -> Result<()> {
    let rows = rows()?;
    for phase in Phase::ALL {
        assert!(
            rows.iter().any(|row| row.phase == phase),
            "{}",
            phase.as_str()
        );
    }
    Ok(())
}
