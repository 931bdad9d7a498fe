//! What the operator reports.

use super::{AcceptedReason, At, ConditionType, PlacedReason, Report, Status, Why};
use crate::agentvm::Phase;

/// What the operator knows of one `AgentVM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorView<'a> {
    /// The spec is refused and no node has it: `Failed`, until spec or policies change.
    Refused {
        /// `InvalidSpec` or `PolicyRefused`.
        reason: AcceptedReason,
        /// Which field, what was asked, what is allowed.
        message: &'a str,
    },
    /// Accepted, and no node was found: `Pending`.
    Unplaced {
        /// `Unschedulable` or `NoNodes`.
        reason: PlacedReason,
        /// Such as `0/3 nodes: 2 insufficient memory, 1 taint gpu`.
        message: &'a str,
    },
    /// Accepted, not placed since `spec.suspend` is true: `Suspended`.
    Suspended,
    /// Accepted, and the apply that this report is for creates or changes the assignment:
    /// `Starting`.
    Assigning {
        /// The node.
        node: &'a str,
    },
    /// A node has it, and its agent owns the rest of the status.
    Assigned {
        /// The node.
        node: &'a str,
        /// The refusal where policies no longer allow the spec; the agent ends the VM by
        /// itself, since it computes the same.
        refused: Option<(AcceptedReason, &'a str)>,
    },
}

/// The phase and conditions that the operator owns.
pub fn operator(view: &OperatorView<'_>, at: &At<'_>) -> Report {
    match *view {
        OperatorView::Refused { reason, message } => {
            let why = Why {
                reason: reason.as_str(),
                message,
            };
            let mut report = whole(at, Phase::Failed, why);
            report
                .conditions
                .push(at.condition(ConditionType::Accepted, Status::False, why));
            report
                .conditions
                .push(at.condition(ConditionType::Failed, Status::True, why));
            report
        }
        OperatorView::Unplaced { reason, message } => {
            let why = Why {
                reason: reason.as_str(),
                message,
            };
            let mut report = whole(at, Phase::Pending, why);
            report.conditions.push(accepted(at));
            report
                .conditions
                .push(at.condition(ConditionType::Placed, Status::False, why));
            report
        }
        OperatorView::Suspended => {
            let why = Why {
                reason: Phase::Suspended.as_str(),
                message: "spec.suspend is true",
            };
            let mut report = whole(at, Phase::Suspended, why);
            report.conditions.push(accepted(at));
            report
        }
        OperatorView::Assigning { node } => {
            let message = format!("node {node} fetches and compiles what it needs");
            let mut report = whole(
                at,
                Phase::Starting,
                Why {
                    reason: Phase::Starting.as_str(),
                    message: &message,
                },
            );
            report.conditions.extend([accepted(at), placed(at, node)]);
            report
        }
        OperatorView::Assigned { node, refused } => {
            let accepted = refused.map_or_else(
                || accepted(at),
                |(reason, message)| {
                    at.condition(
                        ConditionType::Accepted,
                        Status::False,
                        Why {
                            reason: reason.as_str(),
                            message,
                        },
                    )
                },
            );
            Report {
                conditions: vec![accepted, placed(at, node)],
                ..Report::default()
            }
        }
    }
}

fn whole(at: &At<'_>, phase: Phase, why: Why<'_>) -> Report {
    Report {
        phase: Some(phase),
        observed_generation: at.generation,
        conditions: at.summary(phase, why).to_vec(),
    }
}

fn accepted(at: &At<'_>) -> super::Condition {
    let why = Why {
        reason: AcceptedReason::Accepted.as_str(),
        message: "the spec is sound and allowed",
    };
    at.condition(ConditionType::Accepted, Status::True, why)
}

fn placed(at: &At<'_>, node: &str) -> super::Condition {
    let message = format!("assigned to node {node}");
    at.condition(
        ConditionType::Placed,
        Status::True,
        Why {
            reason: PlacedReason::Placed.as_str(),
            message: &message,
        },
    )
}
