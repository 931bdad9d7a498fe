//! Which parts of a status each write names.

use agentvm_crds::AgentVM;
use agentvm_crds::agentvm::{AgentVMStatus, EffectiveStatus, Phase};
use agentvm_crds::conditions::AcceptedReason;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::{assigning, differs, evicted, reported, unplaced};
use crate::decide::{Eviction, Lost, Order, View};
use crate::nodes::Standing;
use crate::place::{Demand, Unplaceable};

fn now() -> Time {
    Time(Timestamp::UNIX_EPOCH)
}

fn vm(status: &Value) -> AgentVM {
    serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "crawler", "namespace": "lab", "uid": "u1", "generation": 3},
        "spec": {"image": "r/a"}, "status": status,
    }))
    .unwrap()
}

fn with(status: AgentVMStatus) -> AgentVM {
    AgentVM {
        status: Some(status),
        ..vm(&Value::Null)
    }
}

fn order(lost: Option<Lost>) -> Order {
    Order {
        demand: Box::new(Demand::default()),
        effective: EffectiveStatus::default(),
        audited: vec![],
        epoch: if lost.is_some() { 2 } else { 1 },
        lost,
    }
}

fn lost() -> Lost {
    Lost {
        node: "n1".into(),
        how: "has no Node object any more",
    }
}

fn condition<'a>(status: &'a AgentVMStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    let found = status.conditions.iter().find(|one| one.type_ == kind);
    found.map_or(("absent", "", ""), |one| {
        (&one.status, &one.reason, &one.message)
    })
}

fn stays(standing: Standing) -> View {
    View::Assigned {
        refused: None,
        standing,
    }
}

#[test]
fn the_write_that_assigns_carries_everything_in_one() {
    let status = assigning(&vm(&Value::Null), &order(None), "n1", &now());
    assert_eq!(status.phase, Some(Phase::Starting));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(
        status
            .assignment
            .as_ref()
            .map(|it| (it.node_name.as_str(), it.epoch)),
        Some(("n1", 1))
    );
    assert_eq!(condition(&status, "Accepted").0, "True");
    assert_eq!(condition(&status, "Placed").0, "True");
    assert_eq!(condition(&status, "Reconciling").0, "True");
}

#[test]
fn an_assigned_vm_whose_agent_has_written_is_left_to_it() {
    let agents = json!({
        "phase": "Running", "observedGeneration": 3, "assignment": {"nodeName": "n1", "epoch": 1},
    });
    let status = reported(&vm(&agents), &stays(Standing::Fresh), &now());
    assert_eq!(
        (status.phase, status.observed_generation, status.effective),
        (None, None, None)
    );
    let kinds: Vec<&str> = status
        .conditions
        .iter()
        .map(|one| one.type_.as_str())
        .collect();
    assert_eq!(kinds, ["Accepted", "Placed"]);
}

#[test]
fn until_the_agent_writes_an_apply_names_again_what_only_the_operator_wrote() {
    let first = assigning(&vm(&Value::Null), &order(None), "n1", &now());
    let second = reported(&with(first.clone()), &stays(Standing::Silent), &now());
    assert_eq!(
        (second.phase, &second.effective),
        (Some(Phase::Starting), &first.effective)
    );
    for kind in ["Ready", "Reconciling", "Stalled"] {
        assert_eq!(condition(&second, kind), condition(&first, kind));
    }
}

#[test]
fn nothing_is_written_after_the_assignment_unless_something_changed() {
    let first = assigning(&vm(&Value::Null), &order(None), "n1", &now());
    let mut object = with(first);
    assert!(!differs(
        &reported(&object, &stays(Standing::Fresh), &now()),
        object.status.as_ref()
    ));
    let status = object.status.as_mut().unwrap();
    status.phase = Some(Phase::Running);
    status.restarts = Some(2);
    assert!(!differs(
        &reported(&object, &stays(Standing::Fresh), &now()),
        object.status.as_ref()
    ));
    assert!(differs(
        &reported(&object, &stays(Standing::Silent), &now()),
        object.status.as_ref()
    ));
}

#[test]
fn silence_is_told_and_taken_back() {
    let object = with(assigning(&vm(&Value::Null), &order(None), "n1", &now()));
    let silent = reported(&object, &stays(Standing::Silent), &now());
    let (status, reason, message) = condition(&silent, "Placed");
    assert_eq!((status, reason), ("True", "Placed"));
    assert_eq!(
        message,
        "assigned to node n1; its agent is not heard from, so the VM stays there and may still run"
    );
    let back = reported(&with(silent), &stays(Standing::Fresh), &now());
    assert_eq!(condition(&back, "Placed").2, "assigned to node n1");
}

#[test]
fn a_refusal_that_was_mended_leaves_no_trace() {
    let view = View::Refused {
        reason: AcceptedReason::PolicyRefused,
        message: "too much".into(),
        effective: None,
    };
    let refused = reported(&vm(&Value::Null), &view, &now());
    assert_eq!(refused.phase, Some(Phase::Failed));
    assert_eq!(
        condition(&refused, "Stalled"),
        ("True", "PolicyRefused", "too much")
    );
    let object = with(refused);
    let mended = unplaced(&object, &order(None), &Unplaceable::default(), &now());
    assert_eq!(condition(&mended, "Failed").0, "absent");
    assert_eq!(
        condition(&mended, "Placed"),
        ("False", "NoNodes", "0/0 nodes: no node runs an agent")
    );
    assert!(differs(&mended, object.status.as_ref()));
}

#[test]
fn a_move_takes_back_what_the_lost_agent_said() {
    let before = json!({
        "phase": "Running", "assignment": {"nodeName": "n1", "epoch": 1},
        "conditions": [{
            "type": "Running", "status": "True", "reason": "Running", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }],
    });
    let moved = assigning(&vm(&before), &order(Some(lost())), "n2", &now());
    assert_eq!(condition(&moved, "Running").0, "False");
    assert_eq!(moved.assignment.as_ref().map(|it| it.epoch), Some(2));
    // Where there is nowhere to go, the assignment keeps the epoch.
    let stuck = unplaced(
        &vm(&before),
        &order(Some(lost())),
        &Unplaceable::default(),
        &now(),
    );
    assert_eq!(stuck.phase, Some(Phase::Pending));
    assert_eq!(
        stuck
            .assignment
            .as_ref()
            .map(|it| (it.node_name.as_str(), it.epoch)),
        Some(("n1", 1))
    );
    assert_eq!(condition(&stuck, "Running").0, "False");
    assert!(
        condition(&stuck, "Placed")
            .2
            .starts_with("node n1 has no Node object any more and no other takes it")
    );
}

#[test]
fn an_eviction_is_an_end_with_a_record() {
    let before = json!({"phase": "Running", "assignment": {"nodeName": "n1", "epoch": 1}});
    let eviction = Eviction {
        lost: lost(),
        because: "restartPolicy Never allows no second run",
    };
    let status = evicted(&vm(&before), &eviction, &now());
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(
        status.exit.as_ref().map(|exit| exit.reason.as_str()),
        Some("Evicted")
    );
    assert_eq!(
        condition(&status, "Failed"),
        (
            "True",
            "Evicted",
            "node n1 has no Node object any more; restartPolicy Never allows no second run"
        )
    );
    assert_eq!(condition(&status, "Running").0, "False");
    assert!(status.assignment.is_some());
}

#[test]
fn c13_no_write_of_the_operator_touches_the_count_of_restarts() {
    let agents = vm(&json!({
        "phase": "BackOff", "observedGeneration": 3, "restarts": 7,
        "assignment": {"nodeName": "n1", "epoch": 1}, "releasedEpoch": 1,
    }));
    let leaving = View::Leaving {
        why: "a taint".into(),
    };
    let eviction = Eviction {
        lost: lost(),
        because: "it is refused",
    };
    let unplaceable = Unplaceable::default();
    let writes = [
        reported(&agents, &stays(Standing::Fresh), &now()),
        reported(&agents, &stays(Standing::Silent), &now()),
        reported(&agents, &leaving, &now()),
        unplaced(&agents, &order(Some(lost())), &unplaceable, &now()),
        assigning(&agents, &order(Some(lost())), "n2", &now()),
        evicted(&agents, &eviction, &now()),
    ];
    for status in writes {
        assert_eq!(status.restarts, None, "{status:?}");
    }
}
