//! One more namespace on a node takes one more cell.

use std::time::Instant;

use agentvm_crds::agentnode::JailLevel;
use serde_json::Value;

use super::{Offer, add_node_of, assigned, demand, vm};
use crate::world::{Cause, Key, Placement, World};

fn key(namespace: &str, name: &str) -> Key {
    Key {
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// A world with one node that runs so many cells, with three VMs each.
fn room_for(cells: u64, now: Instant) -> World {
    let mut world = World::new(JailLevel::Full);
    add_node_of(&mut world, "n1", &offer(cells, &[]), now);
    world
}

fn offer<'a>(cells: u64, in_use: &'a [&'a str]) -> Offer<'a> {
    Offer {
        cells: Some((cells, 3)),
        in_use,
        ..Offer::default()
    }
}

fn say(world: &mut World, offer: &Offer<'_>) -> Option<Cause> {
    world.agent_node("n1", Some(&offer.object("n1"))).waiting
}

/// Places a VM that was seen; the reason why it waits, where it does.
fn place(world: &mut World, key: &Key, now: Instant) -> Result<String, String> {
    world.vm(key, &vm(&key.name, &Value::Null), now);
    match world.place_or_wait(key, &format!("uid-{}", key.name), 1, &demand(), now) {
        Placement::Node(node) => Ok(node),
        Placement::UnderWay => panic!("it is under way"),
        Placement::None(reasons) => Err(reasons.to_string()),
    }
}

#[test]
fn d10_a_namespace_without_a_cell_waits_and_one_with_a_cell_does_not() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    assert!(place(&mut world, &key("heron", "a"), now).is_ok());
    assert_eq!(
        place(&mut world, &key("egret", "b"), now).unwrap_err(),
        "0/1 nodes: 1 insufficient cells (--max-cells: VMs of 1 namespace at once)"
    );
    for name in ["c", "d"] {
        assert!(place(&mut world, &key("heron", name), now).is_ok());
    }
    assert_eq!(
        place(&mut world, &key("heron", "e"), now).unwrap_err(),
        "0/1 nodes: 1 insufficient VM slots in the namespace's cell (--max-vms-per-cell: 3)"
    );
}

#[test]
fn d10_the_namespace_that_is_one_too_many_goes_to_a_node_with_room() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    assert_eq!(place(&mut world, &key("heron", "a"), now).unwrap(), "n1");
    // It has less left of everything else.
    let small = Offer {
        memory: "128Mi",
        cpu_millicores: 200,
        ..offer(1, &[])
    };
    add_node_of(&mut world, "n2", &small, now);
    assert_eq!(place(&mut world, &key("egret", "b"), now).unwrap(), "n2");
    assert!(place(&mut world, &key("stork", "c"), now).is_err());
}

#[test]
fn d10_many_namespaces_at_once_are_not_promised_the_same_cells() {
    let now = Instant::now();
    let mut world = room_for(60, now);
    let placed = (0..500)
        .map(|number| key(&format!("ns{number}"), &format!("vm{number}")))
        .filter(|key| place(&mut world, key, now).is_ok())
        .count();
    assert_eq!(placed, 60);
}

#[test]
fn d10_a_deleted_vm_keeps_its_cell_until_its_agent_says_that_it_has_stopped() {
    let now = Instant::now();
    let mut world = room_for(1, now);
    let first = key("heron", "a");
    world.vm(&first, &assigned("a", "n1", "Running"), now);
    assert_eq!(say(&mut world, &offer(1, &["heron"])), None);
    let second = key("egret", "b");
    assert!(place(&mut world, &second, now).is_err());
    assert_eq!(world.vm_gone(&first).waiting, Some(Cause::RoomFreed));
    assert!(world.retry_waiting(Cause::RoomFreed, now).is_empty());
    assert!(place(&mut world, &second, now).is_err(), "it still stops");
    let back = place(&mut world, &key("heron", "c"), now);
    assert!(back.is_ok(), "its own namespace needs no other");
    world.vm_gone(&key("heron", "c"));
    assert_eq!(say(&mut world, &offer(1, &[])), Some(Cause::RoomFreed));
    assert_eq!(world.retry_waiting(Cause::RoomFreed, now), [second]);
}

#[test]
fn a_cell_is_free_when_its_vm_ended_and_its_agent_has_told_both() {
    let now = Instant::now();
    for end in ["Complete", "Failed"] {
        let mut world = room_for(1, now);
        let first = key("heron", "a");
        world.vm(&first, &assigned("a", "n1", "Running"), now);
        say(&mut world, &offer(1, &["heron"]));
        say(&mut world, &offer(1, &[]));
        let second = key("egret", "b");
        assert!(place(&mut world, &second, now).is_err(), "{end}");
        world.vm(&first, &assigned("a", "n1", end), now);
        assert_eq!(
            world.retry_waiting(Cause::RoomFreed, now),
            [second],
            "{end}"
        );
    }
}

#[test]
fn a_new_leader_knows_of_the_cells_of_vms_whose_objects_are_gone() {
    let now = Instant::now();
    let mut world = World::new(JailLevel::Full);
    add_node_of(&mut world, "n1", &offer(2, &["heron", "egret"]), now);
    world.vm(&key("egret", "a"), &assigned("a", "n1", "Running"), now);
    assert!(place(&mut world, &key("stork", "b"), now).is_err());
}

#[test]
fn of_those_that_wait_as_many_namespaces_are_tried_again_as_there_are_cells() {
    let now = Instant::now();
    let mut world = World::new(JailLevel::Full);
    let waiting = [
        key("heron", "a"),
        key("heron", "b"),
        key("egret", "c"),
        key("stork", "d"),
        key("heron", "e"),
        key("heron", "f"),
    ];
    for key in &waiting {
        assert!(place(&mut world, key, now).is_err());
    }
    add_node_of(&mut world, "n1", &offer(2, &[]), now);
    let tried = world.retry_waiting(Cause::RoomFreed, now);
    let names: Vec<&str> = tried.iter().map(|key| key.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "e"], "three of one, one of another");
}

#[test]
fn an_agent_that_does_not_say_runs_as_many_cells_as_ever() {
    let now = Instant::now();
    let mut world = World::new(JailLevel::Full);
    let old = Offer::default();
    add_node_of(&mut world, "n1", &old, now);
    for number in 0..300 {
        let key = key(&format!("ns{number}"), &format!("vm{number}"));
        assert!(place(&mut world, &key, now).is_ok(), "{number}");
    }
    assert!(place(&mut world, &key("ns1", "one-more"), now).is_ok());
    // Its next version does.
    say(&mut world, &offer(300, &[]));
    assert!(place(&mut world, &key("ns300", "vm300"), now).is_err());
}
