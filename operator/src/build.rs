//! Step 5: the status to write. Pure.
//!
//! An apply names everything that the operator owns, since what it leaves out is taken from the
//! object. While nobody but the operator has written a phase (`Starting`), that includes what it
//! wrote in the apply that assigned; later the agent owns it.

use agentvm_crds::agentvm::{AgentVM, AgentVMStatus, Assignment, ExitStatus, Phase};
use agentvm_crds::conditions::{
    AgentView, At, Cause, ConditionType, OperatorView, PlacedReason, Report, agent, operator,
    sentence,
};
use agentvm_policy::EndReason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::Resource as _;

use crate::decide::{Eviction, Order, View};
use crate::nodes::Standing;
use crate::place::Unplaceable;
use crate::resources::Resources;

/// The status of a VM that was not given a node.
pub fn reported(vm: &AgentVM, view: &View, now: &Time) -> AgentVMStatus {
    let at = at(vm, now);
    match view {
        View::Refused {
            reason,
            message,
            effective,
        } => AgentVMStatus {
            effective: effective.clone(),
            ..whole(operator(
                &OperatorView::Refused {
                    reason: *reason,
                    message,
                },
                &at,
            ))
        },
        View::Suspended { effective } => AgentVMStatus {
            effective: Some(effective.clone()),
            ..whole(operator(&OperatorView::Suspended, &at))
        },
        View::Assigned { refused, standing } => {
            let refused = refused
                .as_ref()
                .map(|(reason, message)| (*reason, message.as_str()));
            let assignment = vm.assignment().cloned().unwrap_or_default();
            let report = operator(
                &OperatorView::Assigned {
                    node: &assignment.node_name,
                    refused,
                },
                &at,
            );
            let mut status = AgentVMStatus {
                conditions: report.conditions,
                ..AgentVMStatus::default()
            };
            tell_standing(&mut status.conditions, &assignment.node_name, *standing);
            keep_what_only_we_wrote(vm, &mut status);
            status.assignment = Some(assignment);
            status
        }
        View::Leaving { why } => leaving(vm, why, &at),
    }
}

/// `status`, whose assignment says what the VM holds by it.
pub fn claiming(mut status: AgentVMStatus, held: Option<Resources>) -> AgentVMStatus {
    if let (Some(assignment), Some(held)) = (&mut status.assignment, held) {
        assignment.claimed = Some(held.to_record());
    }
    status
}

/// The status that has a node let go of a VM.
fn leaving(vm: &AgentVM, why: &str, at: &At<'_>) -> AgentVMStatus {
    let mut assignment = vm.assignment().cloned().unwrap_or_default();
    let view = OperatorView::Assigned {
        node: &assignment.node_name,
        refused: None,
    };
    let mut status = AgentVMStatus {
        conditions: operator(&view, at).conditions,
        ..AgentVMStatus::default()
    };
    for condition in &mut status.conditions {
        if condition.type_ == ConditionType::Placed.as_str() {
            condition.message = sentence(&format!("it must leave: {why}"));
        }
    }
    keep_what_only_we_wrote(vm, &mut status);
    assignment.evict.get_or_insert_with(|| sentence(why));
    status.assignment = Some(assignment);
    status
}

/// The status of a VM that fits on no node, whether it had one before or not.
pub fn unplaced(vm: &AgentVM, order: &Order, reasons: &Unplaceable, now: &Time) -> AgentVMStatus {
    let at = at(vm, now);
    let reason = if reasons.nodes() == 0 {
        PlacedReason::NoNodes
    } else {
        PlacedReason::Unschedulable
    };
    let told = reasons.to_string();
    let Some(lost) = &order.lost else {
        return AgentVMStatus {
            effective: Some(order.effective.clone()),
            ..whole(operator(
                &OperatorView::Unplaced {
                    reason,
                    message: &told,
                },
                &at,
            ))
        };
    };
    // It keeps its assignment, and with it its epoch, until there is another.
    let mut report = operator(
        &OperatorView::Unplaced {
            reason,
            message: "",
        },
        &at,
    );
    let message = format!(
        "node {} {} and no other takes it: {told}",
        lost.node, lost.how
    );
    for condition in &mut report.conditions {
        if condition.type_ != ConditionType::Accepted.as_str() {
            condition.message = sentence(&message);
        }
    }
    add_missing(
        &mut report.conditions,
        agent(&AgentView::Starting, &at).conditions,
    );
    AgentVMStatus {
        effective: Some(order.effective.clone()),
        assignment: vm.assignment().cloned(),
        ..whole(report)
    }
}

/// The status that assigns: `Accepted`, `Placed`, the assignment and phase `Starting` in one.
pub fn assigning(vm: &AgentVM, order: &Order, node: &str, now: &Time) -> AgentVMStatus {
    let at = at(vm, now);
    let mut report = operator(&OperatorView::Assigning { node }, &at);
    if order.lost.is_some() {
        // What the lost agent last said of `Running` and the like is true no longer.
        add_missing(
            &mut report.conditions,
            agent(&AgentView::Starting, &at).conditions,
        );
    }
    AgentVMStatus {
        effective: Some(order.effective.clone()),
        assignment: Some(Assignment {
            node_name: node.to_owned(),
            epoch: order.epoch,
            evict: None,
            claimed: Some(order.demand.resources.to_record()),
        }),
        ..whole(report)
    }
}

/// The status of a VM that ends with its node: the one end that the operator writes, since the
/// agent that would is gone.
pub fn evicted(vm: &AgentVM, eviction: &Eviction, now: &Time) -> AgentVMStatus {
    let at = at(vm, now);
    let message = format!(
        "node {} {}; {}",
        eviction.lost.node, eviction.lost.how, eviction.because
    );
    let view = AgentView::Failed {
        cause: Cause::Ended(EndReason::Evicted),
        message: &message,
    };
    let mut report = agent(&view, &at);
    let ours = operator(
        &OperatorView::Assigned {
            node: &eviction.lost.node,
            refused: None,
        },
        &at,
    );
    add_missing(&mut report.conditions, ours.conditions);
    let before = vm.status.as_ref();
    AgentVMStatus {
        assignment: vm.assignment().cloned(),
        effective: before.and_then(|status| status.effective.clone()),
        exit: Some(ExitStatus {
            message: sentence(&message),
            finished_at: Some(now.clone()),
            ..ExitStatus::of(EndReason::Evicted)
        }),
        ..whole(report)
    }
}

/// Whether writing `desired` would change more than times.
pub fn differs(desired: &AgentVMStatus, current: Option<&AgentVMStatus>) -> bool {
    let Some(current) = current else { return true };
    let stands = |condition: &Condition| {
        current.conditions.iter().any(|before| {
            before.type_ == condition.type_
                && before.status == condition.status
                && before.reason == condition.reason
                && before.message == condition.message
                && before.observed_generation == condition.observed_generation
        })
    };
    let unowned = desired.assignment.is_some();
    let same_kinds = unowned || desired.conditions.len() == current.conditions.len();
    let same = |wanted: bool, equal: bool| (unowned && !wanted) || equal;
    !(same_kinds
        && desired.conditions.iter().all(stands)
        && desired.assignment == current.assignment
        && same(desired.phase.is_some(), desired.phase == current.phase)
        && same(
            desired.observed_generation.is_some(),
            desired.observed_generation == current.observed_generation,
        )
        && same(
            desired.effective.is_some(),
            desired.effective == current.effective,
        )
        && same(desired.exit.is_some(), desired.exit == current.exit))
}

fn at<'a>(vm: &'a AgentVM, now: &'a Time) -> At<'a> {
    let previous = vm
        .status
        .as_ref()
        .map(|status| status.conditions.as_slice())
        .unwrap_or_default();
    At {
        generation: vm.meta().generation,
        now,
        previous,
    }
}

fn whole(report: Report) -> AgentVMStatus {
    let Report {
        phase,
        observed_generation,
        conditions,
    } = report;
    AgentVMStatus {
        phase,
        observed_generation,
        conditions,
        ..AgentVMStatus::default()
    }
}

fn add_missing(conditions: &mut Vec<Condition>, more: Vec<Condition>) {
    for condition in more {
        if !conditions.iter().any(|one| one.type_ == condition.type_) {
            conditions.push(condition);
        }
    }
}

fn tell_standing(conditions: &mut [Condition], node: &str, standing: Standing) {
    let more = match standing {
        Standing::Fresh => return,
        Standing::Silent => "its agent is not heard from, so the VM stays there and may still run",
        Standing::Gone => "the Node object is gone",
        Standing::OutOfService => "the node is out of service",
    };
    for condition in conditions
        .iter_mut()
        .filter(|one| one.type_ == ConditionType::Placed.as_str())
    {
        condition.message = format!("assigned to node {node}; {more}");
    }
}

/// Until the agent's first write the operator is the only owner of phase and summary: they are
/// named again as they stand. The apply carries the resource version, so a write of the agent in
/// between makes it a conflict.
fn keep_what_only_we_wrote(vm: &AgentVM, status: &mut AgentVMStatus) {
    let Some(before) = vm
        .status
        .as_ref()
        .filter(|before| before.phase == Some(Phase::Starting))
    else {
        return;
    };
    status.phase = before.phase;
    status.observed_generation = before.observed_generation;
    status.effective.clone_from(&before.effective);
    let ours = [
        ConditionType::Ready,
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::Running,
    ];
    let kept = before
        .conditions
        .iter()
        .filter(|one| ours.iter().any(|kind| kind.as_str() == one.type_));
    status.conditions.extend(kept.cloned());
}

#[cfg(test)]
mod tests;
