//! Room is promised once, and free when it is.

use std::time::Instant;

use agentvm_crds::agentnode::JailLevel;
use serde_json::{Value, json};

use super::{assigned, key, place, room_for, vm};
use crate::world::{Cause, Placement, World};

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
