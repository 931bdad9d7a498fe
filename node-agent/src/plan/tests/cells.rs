//! A node with as many cells as it may run.

use std::collections::BTreeMap;
use std::time::Duration;

use agentvm_crds::agentvm::{AgentVM, RestartPolicy};
use agentvm_policy::EndReason;

use super::world::{NAMESPACE, World, assigned};
use crate::catalogue::Change;
use crate::observed::{Lack, Outcome};
use crate::plan::Action;

const OTHER: &str = "other-ns";

/// A VM of another namespace.
fn of_other(uid: &str) -> AgentVM {
    let mut vm = assigned(uid, RestartPolicy::Never);
    vm.metadata.namespace = Some(OTHER.to_owned());
    vm
}

/// A world with a VM of the other namespace, for whose cell there is no room.
fn crowded(mut world: World) -> World {
    let namespaces = [NAMESPACE, OTHER].map(|name| (name.to_owned(), BTreeMap::new()));
    world.change(Change::Namespaces(namespaces.into()));
    world.apply(of_other("u9"));
    refuse(&mut world, Lack::Room);
    world
}

/// Carries out what does not concern the other namespace's cell, which is asked for and refused.
fn refuse(world: &mut World, lack: Lack) {
    for action in world.plan().actions {
        if is_for_other(&action) {
            world.observed.began(&action);
            let outcome = Outcome::CellFailed {
                namespace: OTHER.to_owned(),
                message: "200 is the most".to_owned(),
                lack,
            };
            world
                .observed
                .finished(outcome, world.catalogue.desired(), world.now);
        } else {
            world.carry_out(action);
        }
    }
}

fn is_for_other(action: &Action) -> bool {
    matches!(action, Action::EnsureCell { namespace } if namespace == OTHER)
}

fn idle() -> World {
    let mut world = World::running(RestartPolicy::Never);
    world.ends("u1", EndReason::Completed);
    world.settle();
    assert!(world.cell_runs);
    world
}

fn in_use(world: &World) -> Vec<&str> {
    world.observed.cells_in_use().collect()
}

#[test]
fn a_cell_that_no_vm_needs_makes_room_for_another_namespace_at_once() {
    let mut world = crowded(idle());
    for action in world.plan().actions {
        world.carry_out(action);
    }
    assert!(!world.cell_runs);
    let again = world.plan().actions;
    assert!(
        again.iter().any(is_for_other),
        "it is tried when there is room: {again:?}"
    );
}

#[test]
fn a_cell_that_is_needed_makes_no_room() {
    let mut world = crowded(World::running(RestartPolicy::Never));
    for _ in 0..5 {
        refuse(&mut world, Lack::Room);
        world.now += Duration::from_mins(1);
    }
    assert!(world.cell_runs && world.record("u1").is_live());
}

#[test]
fn a_cell_that_fails_for_another_reason_ends_no_other() {
    let mut world = idle();
    world.apply(of_other("u9"));
    refuse(&mut world, Lack::Other);
    for action in world.plan().actions {
        world.carry_out(action);
    }
    assert!(world.cell_runs);
}

#[test]
fn where_nobody_waits_any_more_a_cell_is_kept() {
    let mut world = crowded(idle());
    world.delete("u9");
    for _ in 0..5 {
        for action in world.plan().actions {
            if !matches!(action, Action::StopCell { .. }) {
                world.carry_out(action);
            }
        }
    }
    assert!(!world.observed.vms.contains_key("u9"));
    let plan = world.plan();
    assert!(plan.actions.is_empty() && world.cell_runs, "{plan:?}");
}

#[test]
fn a_cell_is_in_use_until_the_last_vm_in_it_has_stopped() {
    let mut world = World::new();
    assert_eq!(in_use(&world), [""; 0]);
    world.apply(assigned("u1", RestartPolicy::Never));
    for action in world.plan().actions {
        if let Action::EnsureCell { .. } = &action {
            world.observed.began(&action);
        }
    }
    assert_eq!(in_use(&world), [NAMESPACE], "it is being started");
    let mut world = World::running(RestartPolicy::Never);
    assert_eq!(in_use(&world), [NAMESPACE]);
    world.delete("u1");
    assert_eq!(in_use(&world), [NAMESPACE], "its VM still runs");
    world.settle();
    assert_eq!(in_use(&world), [""; 0]);
    assert_eq!(in_use(&idle()), [""; 0]);
}

#[test]
fn a_cell_that_no_vm_needs_is_ended_after_a_while() {
    let mut world = World::running(RestartPolicy::Never);
    world.ends("u1", EndReason::Completed);
    world.settle();
    world.wait(Duration::from_secs(1));
    world.wait(Duration::from_secs(59));
    assert!(world.cell_runs);
    world.wait(Duration::from_secs(1));
    assert!(!world.cell_runs);
    world.apply(assigned("u2", RestartPolicy::Never));
    world.settle();
    world.wait(Duration::from_hours(1));
    assert!(world.record("u2").is_live());
}
