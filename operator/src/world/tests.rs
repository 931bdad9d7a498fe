//! What events wake, and that room is never promised twice.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentvm_crds::AgentVM;
use agentvm_crds::agentnode::JailLevel;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::{Value, json};

use super::{Cause, Key, Placement, Wake, World};
use crate::decoded::Decoded;
use crate::place::Demand;
use crate::resources::Resources;

const MIB: u64 = 1 << 20;

pub(super) fn key(name: &str) -> Key {
    Key {
        namespace: "lab".into(),
        name: name.into(),
    }
}

fn vm(name: &str, status: &Value) -> Decoded<AgentVM> {
    serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": name, "namespace": "lab", "uid": format!("uid-{name}")},
        "spec": {"image": "r/a", "limits": {"memory": "64Mi", "cpu": "100m"}},
        "status": status,
    }))
    .unwrap()
}

fn assigned(name: &str, node: &str, phase: &str) -> Decoded<AgentVM> {
    vm(
        name,
        &json!({"phase": phase, "assignment": {"nodeName": node, "epoch": 1}}),
    )
}

fn demand() -> Demand {
    Demand {
        resources: Resources {
            memory_bytes: 64 * MIB,
            cpu_millicores: 100,
            vms: 1,
        },
        ..Demand::default()
    }
}

fn lease(at: Timestamp) -> Lease {
    Lease {
        spec: Some(LeaseSpec {
            holder_identity: Some("boot-1".into()),
            lease_duration_seconds: Some(40),
            renew_time: Some(MicroTime(at)),
            ..LeaseSpec::default()
        }),
        ..Lease::default()
    }
}

fn add_node(world: &mut World, name: &str, memory: &str, now: Instant) -> Vec<Wake> {
    add_node_of(world, name, (memory, 8_000, 100), now)
}

/// A node with that memory, millicores and VMs.
pub(super) fn add_node_of(
    world: &mut World,
    name: &str,
    (memory, cpu, vms): (&str, u64, u64),
    now: Instant,
) -> Vec<Wake> {
    let agent = serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentNode", "metadata": {"name": name}, "spec": {},
        "status": {
            "allocatable": {"memory": memory, "cpu": format!("{cpu}m"), "vms": vms},
            "jail": {"level": "Full"},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Ready", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    }))
    .unwrap();
    vec![
        world.node(name, Some(&Node::default()), now),
        world.agent_node(name, Some(&agent)),
        world.lease(
            &format!("node-{name}"),
            Some(&lease(Timestamp::UNIX_EPOCH)),
            now,
            Timestamp::UNIX_EPOCH,
        ),
    ]
}

/// A world with one node with room for `vms` VMs.
fn room_for(vms: u64, now: Instant) -> World {
    let mut world = World::new(JailLevel::Full);
    add_node(&mut world, "n1", &format!("{}Mi", vms * 64), now);
    world
}

fn place(world: &mut World, name: &str, now: Instant) -> Placement {
    world.place_or_wait(&key(name), &format!("uid-{name}"), 1, &demand(), now)
}

#[test]
fn five_hundred_at_once_do_not_overcommit() {
    let now = Instant::now();
    let mut world = room_for(60, now);
    let names: Vec<String> = (0..500).map(|number| format!("vm{number}")).collect();
    for name in &names {
        world.vm(&key(name), &vm(name, &Value::Null), now);
    }
    let placed = names
        .iter()
        .filter(|name| matches!(place(&mut world, name, now), Placement::Node(_)))
        .count();
    assert_eq!(placed, 60);
    assert_eq!(world.census(now).waiting, 440);
}

#[test]
fn an_event_from_before_the_assignment_frees_nothing() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    assert_eq!(place(&mut world, "a", now), Placement::Node("n1".into()));
    assert_eq!(
        world.vm(&key("a"), &vm("a", &Value::Null), now).waiting,
        None
    );
    assert_eq!(place(&mut world, "a", now), Placement::UnderWay);
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
}

#[test]
fn an_end_or_a_deletion_wakes_as_many_as_fit() {
    let now = Instant::now();
    for end in ["Complete", "Failed", "deleted"] {
        let mut world = room_for(1, now);
        world.vm(&key("a"), &assigned("a", "n1", "Running"), now);
        for name in ["b", "c"] {
            world.vm(&key(name), &vm(name, &Value::Null), now);
            assert!(
                matches!(place(&mut world, name, now), Placement::None(_)),
                "{end}"
            );
        }
        let wake = if end == "deleted" {
            world.vm_gone(&key("a"))
        } else {
            world.vm(&key("a"), &assigned("a", "n1", end), now)
        };
        assert_eq!(wake.waiting, Some(Cause::RoomFreed), "{end}");
        assert_eq!(
            world.retry_waiting(Cause::RoomFreed, now),
            [key("b")],
            "{end}"
        );
    }
}

#[test]
fn a_suspended_vm_keeps_its_room_since_its_node_resumes_it_without_asking() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    world.vm(&key("a"), &assigned("a", "n1", "Suspended"), now);
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
}

#[test]
fn an_undecodable_vm_keeps_the_room_of_its_assignment() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    let broken = serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "a", "namespace": "lab", "uid": "uid-a"}, "spec": {"image": 7},
        "status": {"assignment": {"nodeName": "n1", "epoch": 1}},
    }))
    .unwrap();
    world.vm(&key("a"), &broken, now);
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
    assert_eq!(world.census(now).undecodable, 1);
}

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
fn a_refused_write_gives_its_room_back() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    place(&mut world, "a", now);
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
    assert_eq!(
        world.not_assigned("uid-a", 1).waiting,
        Some(Cause::RoomFreed)
    );
    assert_eq!(world.retry_waiting(Cause::RoomFreed, now), [key("b")]);
}

#[test]
fn a_write_without_an_answer_keeps_its_room_and_may_be_repeated() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    place(&mut world, "a", now);
    world.maybe_assigned("uid-a", 1);
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
    assert_eq!(place(&mut world, "a", now), Placement::Node("n1".into()));
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
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
fn an_object_of_the_same_name_does_not_inherit_room() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    world.vm(&key("a"), &assigned("a", "n1", "Running"), now);
    let mut second = vm("a", &Value::Null);
    second.0.as_mut().unwrap().metadata.uid = Some("uid-second".into());
    assert_eq!(
        world.vm(&key("a"), &second, now).waiting,
        Some(Cause::RoomFreed)
    );
    assert!(matches!(place(&mut world, "b", now), Placement::Node(_)));
}

#[test]
fn a_released_vm_holds_no_room_and_waits() {
    let mut world = World::new(JailLevel::Full);
    let now = Instant::now();
    world.vm(&key("a"), &assigned("a", "n1", "Running"), now);
    assert_eq!(world.ledger.used("n1").vms, 1);
    let released = vm(
        "a",
        &json!({"phase": "Pending", "assignment": {"nodeName": "n1", "epoch": 1}, "releasedEpoch": 1}),
    );
    let wake = world.vm(&key("a"), &released, now);
    assert_eq!(wake.waiting, Some(Cause::RoomFreed));
    assert_eq!(world.ledger.used("n1").vms, 0);
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

#[test]
fn a_vm_whose_memory_was_raised_beyond_its_node_has_to_leave_and_cpu_holds() {
    let now = Instant::now();
    let mut world = room_for(2, now);
    let limits = |name: &str, memory: &str, cpu: &str| {
        let mut vm = assigned(name, "n1", "Running");
        let spec = &mut vm.0.as_mut().unwrap().spec;
        spec.limits = serde_json::from_value(json!({"memory": memory, "cpu": cpu})).unwrap();
        vm
    };
    for name in ["a", "b"] {
        world.vm(&key(name), &limits(name, "64Mi", "100m"), now);
    }
    world.vm(&key("b"), &limits("b", "64Mi", "1"), now);
    assert_eq!(outgrown(&mut world, "b"), None, "CPU delays, no more");
    world.vm(&key("a"), &limits("a", "65Mi", "100m"), now);
    let why = outgrown(&mut world, "a").unwrap();
    assert!(why.contains("65Mi") && why.contains("n1 has 64Mi"), "{why}");
    assert_eq!(outgrown(&mut world, "b"), None, "it asks for what it has");
    world.vm(&key("a"), &limits("a", "65Mi", "200m"), now);
    assert!(outgrown(&mut world, "a").is_some(), "until it fits");
    world.vm(&key("a"), &limits("a", "64Mi", "200m"), now);
    assert_eq!(outgrown(&mut world, "a"), None);
}

fn outgrown(world: &mut World, name: &str) -> Option<String> {
    world.hold(&key(name)).outgrown
}

/// A VM that was given `recorded` of memory on n1 and asks for `memory` by now.
fn recorded(name: &str, recorded: &str, memory: &str) -> Decoded<AgentVM> {
    let claimed = json!({"memory": recorded, "cpu": "100m"});
    let mut vm = vm(
        name,
        &json!({"phase": "Running", "assignment": {"nodeName": "n1", "epoch": 1, "claimed": claimed}}),
    );
    let spec = &mut vm.0.as_mut().unwrap().spec;
    spec.limits = serde_json::from_value(json!({"memory": memory, "cpu": "100m"})).unwrap();
    vm
}

#[test]
fn a_leader_that_never_saw_the_smaller_limit_still_has_the_raised_one_leave() {
    let now = Instant::now();
    for order in [["a", "b"], ["b", "a"]] {
        let mut world = room_for(2, now);
        for name in order {
            let memory = if name == "a" { "65Mi" } else { "64Mi" };
            world.vm(&key(name), &recorded(name, "64Mi", memory), now);
        }
        assert!(outgrown(&mut world, "a").is_some(), "{order:?}");
        assert_eq!(outgrown(&mut world, "b"), None, "{order:?}");
    }
}

#[test]
fn of_many_that_are_raised_at_once_only_those_leave_for_which_there_is_no_room() {
    let now = Instant::now();
    let mut world = room_for(4, now);
    for name in ["a", "b", "c"] {
        world.vm(&key(name), &recorded(name, "64Mi", "96Mi"), now);
    }
    let leave = ["a", "b", "c"].map(|name| outgrown(&mut world, name).is_some());
    assert_eq!(leave, [false, false, true]);
    let held = world.hold(&key("a")).claimed.unwrap().memory_bytes;
    assert_eq!(held, 96 << 20, "this is written down");
    let held = world.hold(&key("c")).claimed.unwrap().memory_bytes;
    assert_eq!(held, 64 << 20, "what it had stays its");
}

#[test]
fn nobody_is_given_more_of_a_node_that_does_not_say_what_it_has() {
    let mut world = World::new(JailLevel::Full);
    world.vm(&key("a"), &recorded("a", "64Mi", "96Mi"), Instant::now());
    let held = world.hold(&key("a"));
    assert_eq!(held.outgrown, None);
    assert_eq!(held.claimed.unwrap().memory_bytes, 64 << 20);
}

#[test]
fn what_a_vm_no_longer_asks_for_is_free_once_that_is_written_down() {
    let now = Instant::now();
    let mut world = room_for(2, now);
    world.vm(&key("a"), &recorded("a", "128Mi", "64Mi"), now);
    assert!(matches!(place(&mut world, "b", now), Placement::None(_)));
    let held = world.hold(&key("a")).claimed.unwrap().memory_bytes;
    assert_eq!(held, 64 << 20);
    let wake = world.vm(&key("a"), &recorded("a", "64Mi", "64Mi"), now);
    assert_eq!(wake.waiting, Some(Cause::RoomFreed));
    assert!(matches!(place(&mut world, "b", now), Placement::Node(_)));
}

#[test]
fn a_node_that_offers_less_takes_nothing_from_those_that_run() {
    let now = Instant::now();
    let mut world = room_for(2, now);
    for name in ["a", "b"] {
        world.vm(&key(name), &assigned(name, "n1", "Running"), now);
    }
    add_node(&mut world, "n1", "64Mi", now);
    for name in ["a", "b"] {
        world.vm(&key(name), &assigned(name, "n1", "Running"), now);
        assert_eq!(outgrown(&mut world, name), None);
    }
    assert!(matches!(place(&mut world, "c", now), Placement::None(_)));
}
