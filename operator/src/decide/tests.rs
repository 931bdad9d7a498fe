//! The table of [`super`], row by row.

use std::sync::Arc;

use agentvm_crds::AgentVM;
use serde_json::{Value, json};

use super::{Decision, Eviction, Order, View, decide};
use crate::dereference::Dereferenced;
use crate::nodes::Standing;
use crate::validate::validate;
use crate::world::{Holding, Key};

fn vm(spec: &Value, status: &Value) -> AgentVM {
    let mut spec = spec.clone();
    spec.as_object_mut()
        .unwrap()
        .entry("image")
        .or_insert(json!("r/a"));
    serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "crawler", "namespace": "lab", "uid": "u1"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn on_node(phase: &str) -> Value {
    json!({"phase": phase, "assignment": {"nodeName": "n1", "epoch": 4}})
}

fn outcome(vm: AgentVM, standing: Option<Standing>) -> String {
    let object = Dereferenced {
        vm: Arc::new(vm),
        key: Key {
            namespace: "lab".into(),
            name: "crawler".into(),
        },
        policies: Ok(vec![]),
        standing,
        evict: None,
        holding: Holding::default(),
    };
    told(&object)
}

fn told(object: &Dereferenced) -> String {
    match decide(object, validate(object)) {
        Decision::Leave => "leave".into(),
        Decision::Expire => "expire".into(),
        Decision::Report(View::Refused { reason, .. }) => format!("refused {}", reason.as_str()),
        Decision::Report(View::Suspended { .. }) => "suspended".into(),
        Decision::Report(View::Assigned {
            refused: None,
            standing,
        }) => format!("stays, {standing:?}"),
        Decision::Report(View::Assigned {
            refused: Some(_),
            standing,
        }) => format!("stays refused, {standing:?}"),
        Decision::Report(View::Leaving { why }) => format!("leaves: {why}"),
        Decision::Place(Order {
            epoch, lost: None, ..
        }) => format!("place {epoch}"),
        Decision::Place(Order {
            epoch,
            lost: Some(lost),
            ..
        }) => format!("place {epoch} after {}", lost.node),
        Decision::Evict(Eviction { because, .. }) => format!("evict: {because}"),
    }
}

#[test]
fn a_vm_without_a_node() {
    let refused = json!({"limits": {"memory": "2Gi"}});
    let cases = [
        (json!({}), Value::Null, "place 1"),
        (json!({"suspend": true}), Value::Null, "suspended"),
        (refused.clone(), Value::Null, "refused PolicyRefused"),
        (
            json!({"limits": {"memory": "much"}}),
            Value::Null,
            "refused InvalidSpec",
        ),
        (
            json!({"ttlAfterFinished": "soon"}),
            Value::Null,
            "refused InvalidSpec",
        ),
        // What was refused before it had a node is looked at again.
        (json!({}), json!({"phase": "Failed"}), "place 1"),
        (json!({}), json!({"phase": "Complete"}), "expire"),
    ];
    for (spec, status, expected) in cases {
        assert_eq!(
            outcome(vm(&spec, &status), None),
            expected,
            "{spec} {status}"
        );
    }
}

#[test]
fn a_vm_whose_node_is_there_stays() {
    let cases = [
        (json!({}), "Running", Standing::Fresh, "stays, Fresh"),
        (
            json!({"restartPolicy": "Always"}),
            "Running",
            Standing::Silent,
            "stays, Silent",
        ),
        (
            json!({"limits": {"memory": "2Gi"}}),
            "Running",
            Standing::Fresh,
            "stays refused, Fresh",
        ),
    ];
    for (spec, phase, standing, expected) in cases {
        assert_eq!(
            outcome(vm(&spec, &on_node(phase)), Some(standing)),
            expected,
            "{spec}"
        );
    }
}

#[test]
fn a_vm_whose_node_is_lost() {
    let once = "evict: restartPolicy Never allows no second run";
    let cases = [
        (
            json!({"restartPolicy": "Always"}),
            "Running",
            "place 5 after n1",
        ),
        (
            json!({"restartPolicy": "OnFailure"}),
            "BackOff",
            "place 5 after n1",
        ),
        (json!({"restartPolicy": "Never"}), "Running", once),
        // It may have started, and the agent had no time to say so.
        (json!({"restartPolicy": "Never"}), "Starting", once),
        (
            json!({"restartPolicy": "Never"}),
            "Suspended",
            "place 5 after n1",
        ),
        (
            json!({"restartPolicy": "Always", "limits": {"memory": "2Gi"}}),
            "Running",
            "evict: its spec is refused by now",
        ),
        (json!({"restartPolicy": "Always"}), "Complete", "expire"),
        (json!({"restartPolicy": "Always"}), "Failed", "expire"),
    ];
    for standing in [Standing::Gone, Standing::OutOfService] {
        for (spec, phase, expected) in &cases {
            let got = outcome(vm(spec, &on_node(phase)), Some(standing));
            assert_eq!(got, *expected, "{spec} {phase} {standing:?}");
        }
        let suspended = vm(&json!({"suspend": true}), &on_node("Suspended"));
        assert_eq!(
            outcome(suspended, Some(standing)),
            format!("stays, {standing:?}")
        );
    }
}

#[test]
fn what_is_being_deleted_is_left_alone() {
    let mut vm = vm(&json!({}), &Value::Null);
    vm.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        jiff::Timestamp::UNIX_EPOCH,
    ));
    assert_eq!(outcome(vm, None), "leave");
}

#[test]
fn a_vm_that_must_leave_is_placed_again_only_once_its_agent_has_released_it() {
    let object = |phase: &str, released: Value, spec: Value| {
        let mut status = on_node(phase);
        status["releasedEpoch"] = released;
        Dereferenced {
            vm: Arc::new(vm(&spec, &status)),
            key: Key {
                namespace: "lab".into(),
                name: "crawler".into(),
            },
            policies: Ok(vec![]),
            standing: Some(Standing::Fresh),
            evict: Some("a taint".into()),
            holding: Holding::default(),
        }
    };
    let always = json!({"restartPolicy": "Always"});
    let cases = [
        ("Running", Value::Null, always.clone(), "leaves: a taint"),
        // Of an assignment before this one.
        ("Running", json!(3), always.clone(), "leaves: a taint"),
        ("Pending", json!(4), always, "place 5 after n1"),
        // It never ran.
        ("Pending", json!(4), json!({}), "place 5 after n1"),
        ("Failed", Value::Null, json!({}), "expire"),
        (
            "Pending",
            json!(4),
            json!({"suspend": true}),
            "stays, Fresh",
        ),
        (
            "Pending",
            json!(4),
            json!({"limits": {"memory": "2Gi"}}),
            "stays refused, Fresh",
        ),
    ];
    for (phase, released, spec, expected) in cases {
        assert_eq!(
            told(&object(phase, released.clone(), spec.clone())),
            expected,
            "{phase} {released} {spec}"
        );
    }
}

#[test]
fn a_vm_that_has_outgrown_its_node_leaves_it_unless_it_is_refused_anyhow() {
    let cases = [
        (Standing::Fresh, json!({}), "leaves: no room"),
        (
            Standing::Fresh,
            json!({"limits": {"memory": "2Gi"}}),
            "stays refused, Fresh",
        ),
        (
            Standing::Gone,
            json!({"restartPolicy": "Always"}),
            "place 5 after n1",
        ),
    ];
    for (standing, spec, expected) in cases {
        let object = Dereferenced {
            vm: Arc::new(vm(&spec, &on_node("Running"))),
            key: Key {
                namespace: "lab".into(),
                name: "crawler".into(),
            },
            policies: Ok(vec![]),
            standing: Some(standing),
            evict: None,
            holding: Holding {
                outgrown: Some("no room".into()),
                ..Holding::default()
            },
        };
        assert_eq!(told(&object), expected, "{standing:?} {spec}");
    }
}
