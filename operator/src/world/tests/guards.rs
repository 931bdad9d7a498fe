//! Each guard on, and off: with the guard off, a node is promised what it does not have.

use std::time::Instant;

use agentvm_crds::agentnode::JailLevel;
use serde_json::Value;

use super::{Offer, add_node_of, assigned, demand, vm};
use crate::guards::{Guard, switch_off};
use crate::world::{Key, Placement, World};

/// Says whether an attack succeeds.
type Attack = fn() -> bool;

/// A world with one node: memory for two VMs, cells for two namespaces.
fn world(in_use: &[&str]) -> World {
    let mut world = World::new(JailLevel::Full);
    tell(&mut world, in_use);
    world
}

fn tell(world: &mut World, in_use: &[&str]) {
    let offer = Offer {
        memory: "192Mi",
        cells: Some((2, 2)),
        in_use,
        ..Offer::default()
    };
    add_node_of(world, "n1", &offer, Instant::now());
}

fn key(namespace: &str, number: usize) -> Key {
    Key {
        namespace: namespace.into(),
        name: format!("vm{number}"),
    }
}

/// How many of these are placed, one after another, before the watch shows any of it.
fn placed(world: &mut World, keys: &[Key]) -> usize {
    let now = Instant::now();
    let is_placed = |key: &&Key| {
        let uid = format!("uid-{}", key.name);
        world.vm(key, &vm(&key.name, &Value::Null), now);
        let placement = world.place_or_wait(key, &uid, 1, &demand(), now);
        matches!(placement, Placement::Node(_))
    };
    keys.iter().filter(is_placed).count()
}

/// Whether four VMs of 64 MiB are placed where there are 192.
fn memory_is_promised_twice() -> bool {
    let two_each = ["heron", "heron", "egret", "egret"];
    let keys = two_each.iter().enumerate();
    let keys: Vec<Key> = keys.map(|(number, name)| key(name, number)).collect();
    placed(&mut world(&[]), &keys) > 3
}

/// The same, with the watch that shows each VM before the next one is placed.
fn memory_is_promised_twice_in_the_open() -> bool {
    let mut world = world(&[]);
    let mut count = 0;
    for (number, namespace) in ["heron", "heron", "egret", "egret"].iter().enumerate() {
        let key = key(namespace, number);
        if placed(&mut world, std::slice::from_ref(&key)) == 1 {
            let shown = assigned(&key.name, "n1", "Running");
            world.vm(&key, &shown, Instant::now());
            count += 1;
        }
    }
    count > 3
}

/// Whether VMs of three namespaces are placed where two cells run.
fn one_namespace_too_many_is_placed() -> bool {
    let keys = [key("heron", 0), key("egret", 1), key("stork", 2)];
    placed(&mut world(&[]), &keys) > 2
}

/// Whether three VMs of a namespace are placed where a cell holds two.
fn one_vm_too_many_is_placed_in_a_cell() -> bool {
    let keys = [key("heron", 0), key("heron", 1), key("heron", 2)];
    placed(&mut world(&[]), &keys) > 2
}

/// Whether the cell of a VM that was deleted and still stops is given to another namespace.
fn a_cell_is_given_away_while_its_vm_stops() -> bool {
    let mut world = world(&[]);
    let first = key("heron", 0);
    world.vm(&first, &assigned("vm0", "n1", "Running"), Instant::now());
    tell(&mut world, &["heron"]);
    world.vm_gone(&first);
    placed(&mut world, &[key("egret", 1), key("stork", 2)]) > 1
}

#[test]
fn d10_each_guard_holds_something_back() {
    let attacks: [(Guard, Attack); 6] = [
        (Guard::Sums, memory_is_promised_twice),
        (Guard::Sums, memory_is_promised_twice_in_the_open),
        (Guard::CountedAtOnce, memory_is_promised_twice),
        (Guard::Cells, one_namespace_too_many_is_placed),
        (Guard::Cells, one_vm_too_many_is_placed_in_a_cell),
        (Guard::CellsInUse, a_cell_is_given_away_while_its_vm_stops),
    ];
    for (guard, attack) in attacks {
        assert!(!attack(), "{guard:?} holds nothing back");
        assert!(switch_off(guard, attack), "{guard:?} is not what does");
    }
}
