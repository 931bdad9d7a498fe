//! VMs that are this node's no longer, and those that only seem so.

use std::time::Duration;

use agentvm_crds::agentvm::{Assignment, RestartPolicy};

use super::world::World;
use crate::catalogue::Change;

#[test]
fn a_deleted_vm_is_confirmed_stopped_and_forgotten() {
    let mut world = World::running(RestartPolicy::Always);
    world.done.clear();
    world.delete("u1");
    world.settle();
    assert_eq!(world.done, ["ConfirmGone", "StopVm", "ForgetVm"]);
    assert!(world.observed.vms.is_empty() && world.cell.is_empty());
}

#[test]
fn a_vm_that_only_left_the_watch_is_never_stopped() {
    let mut world = World::running(RestartPolicy::Never);
    world.change(Change::VmLeft {
        uid: "u1".to_owned(),
    });
    for _ in 0..20 {
        world.wait(Duration::from_secs(30));
    }
    assert!(world.cell.contains_key("u1") && !world.done.contains(&"StopVm"));
    world.relist();
    world.settle();
    assert_eq!(world.starts["u1"].len(), 1);
}

#[test]
fn a_vm_without_an_object_is_stopped_after_a_live_read() {
    let mut world = World::running(RestartPolicy::Never);
    world.objects.clear();
    world.done.clear();
    world.start_agent();
    world.settle();
    assert_eq!(world.done, ["ConfirmGone", "StopVm", "ForgetVm"]);
}

#[test]
fn an_object_that_cannot_be_decoded_leaves_its_vm_alone() {
    let mut world = World::running(RestartPolicy::Never);
    world.done.clear();
    world.change(Change::AllVms(vec![Err("u1".to_owned())]));
    world.settle();
    world.start_agent();
    world.change(Change::AllVms(vec![Err("u1".to_owned())]));
    world.settle();
    assert!(
        world.done.is_empty() && world.cell.contains_key("u1"),
        "{:?}",
        world.done
    );
}

#[test]
fn a_vm_assigned_elsewhere_is_stopped_here() {
    let mut world = World::running(RestartPolicy::Never);
    let mut vm = world.objects["u1"].clone();
    let elsewhere = Assignment {
        node_name: "node-b".to_owned(),
        epoch: 2,
        evict: None,
        claimed: None,
    };
    vm.status.as_mut().unwrap().assignment = Some(elsewhere);
    world.objects.insert("u1".to_owned(), vm);
    world.change(Change::VmLeft {
        uid: "u1".to_owned(),
    });
    world.settle();
    assert!(world.cell.is_empty() && world.observed.vms.is_empty());
}
