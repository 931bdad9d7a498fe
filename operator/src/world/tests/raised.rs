//! VMs that ask for more or for less than they were placed with.

use std::time::Instant;

use agentvm_crds::AgentVM;
use agentvm_crds::agentnode::JailLevel;
use serde_json::json;

use super::{add_node, assigned, key, place, room_for, vm};
use crate::decoded::Decoded;
use crate::world::{Cause, Placement, World};

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
