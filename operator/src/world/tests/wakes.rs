//! What events wake.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentvm_crds::agentnode::JailLevel;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node};
use serde_json::{Value, json};

use super::{add_node, assigned, key, lease, place, room_for, vm};
use crate::world::{Cause, Placement, Wake, World};

#[test]
fn who_waited_first_is_tried_first() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    world.vm(&key("a"), &assigned("a", "n1", "Running"), now);
    for name in ["z", "b", "z"] {
        assert!(matches!(place(&mut world, name, now), Placement::None(_)));
    }
    world.vm_gone(&key("a"));
    assert_eq!(world.retry_waiting(Cause::RoomFreed, now), [key("z")]);
}

#[test]
fn a_new_node_wakes_what_fits_and_what_reads_differently_now() {
    let now = Instant::now();
    let mut world = World::new(JailLevel::Full);
    assert!(matches!(place(&mut world, "a", now), Placement::None(_)));
    let wakes = add_node(&mut world, "n1", "32Mi", now);
    assert!(
        wakes
            .iter()
            .any(|wake| wake.waiting == Some(Cause::NodeChanged))
    );
    assert_eq!(world.retry_waiting(Cause::NodeChanged, now), [key("a")]);
    // Nothing fits, so room that was freed somewhere is no news.
    assert!(world.retry_waiting(Cause::RoomFreed, now).is_empty());
    assert!(matches!(place(&mut world, "a", now), Placement::None(_)));
    assert!(world.retry_waiting(Cause::NodeChanged, now).is_empty());
}

#[test]
fn a_renewed_lease_wakes_nobody() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    world.vm(&key("a"), &assigned("a", "n1", "Running"), now);
    let renewed = lease(Timestamp::from_second(10).unwrap());
    let later = now + Duration::from_secs(10);
    assert_eq!(
        world.lease("node-n1", Some(&renewed), later, Timestamp::UNIX_EPOCH),
        Wake::default()
    );
    assert_eq!(
        world.lease(
            "agentvm-operator",
            Some(&renewed),
            later,
            Timestamp::UNIX_EPOCH
        ),
        Wake::default()
    );
}

#[test]
fn silence_and_loss_of_a_node_wake_its_vms_and_no_others() {
    let now = Instant::now();
    let mut world = room_for(4, now);
    add_node(&mut world, "n2", "256Mi", now);
    world.vm(&key("here"), &assigned("here", "n1", "Running"), now);
    world.vm(&key("over"), &assigned("over", "n1", "Complete"), now);
    world.vm(&key("there"), &assigned("there", "n2", "Running"), now);
    assert_eq!(
        Vec::from_iter(world.node("n1", None, now).keys),
        [key("here")]
    );
    let late = now + Duration::from_secs(40);
    assert_eq!(world.next_tick(), Some(late));
    assert_eq!(
        Vec::from_iter(world.tick(late).keys),
        [key("here"), key("there")]
    );
}

#[test]
fn policies_and_labels_wake_the_vms_of_their_namespaces() {
    let now = Instant::now();
    let mut world = room_for(4, now);
    let mut namespace = Namespace::default();
    namespace.metadata.labels = Some(BTreeMap::from([("tier".into(), "low".into())]));
    world.namespace("lab", Some(&namespace));
    world.vm(&key("a"), &vm("a", &Value::Null), now);
    world.vm(&key("over"), &assigned("over", "n1", "Complete"), now);
    let policy = |selector: Value| {
        serde_json::from_value(json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "cap"},
            "spec": {"namespaceSelector": selector},
        }))
        .unwrap()
    };
    assert!(
        world
            .policy(&policy(json!({"matchLabels": {"tier": "high"}})))
            .keys
            .is_empty()
    );
    assert_eq!(
        Vec::from_iter(
            world
                .policy(&policy(json!({"matchLabels": {"tier": "low"}})))
                .keys
        ),
        [key("a")]
    );
    assert_eq!(Vec::from_iter(world.policy_gone("cap").keys), [key("a")]);
    assert!(world.namespace("lab", Some(&namespace)).keys.is_empty());
    assert_eq!(
        Vec::from_iter(world.namespace("lab", Some(&Namespace::default())).keys),
        [key("a")]
    );
}

#[test]
fn a_new_taint_has_the_vms_of_its_node_looked_at() {
    let mut world = World::new(JailLevel::Full);
    let now = Instant::now();
    let node = |taints: Value| -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}}))
            .unwrap()
    };
    world.node("n1", Some(&node(json!([]))), now);
    world.vm(&key("a"), &assigned("a", "n1", "Running"), now);
    world.vm(&key("b"), &assigned("b", "n2", "Running"), now);
    let tainted = node(json!([{"key": "maintenance", "effect": "NoExecute"}]));
    let wake = world.node("n1", Some(&tainted), now);
    assert_eq!(wake.keys.into_iter().collect::<Vec<_>>(), [key("a")]);
    assert!(world.evicts("n1", &[]).is_some());
    assert_eq!(world.evicts("n2", &[]), None);
}
