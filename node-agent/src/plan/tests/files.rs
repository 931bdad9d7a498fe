//! Mounted files of running VMs follow their objects.

use std::time::Duration;

use agentvm_crds::ObjectKind;
use agentvm_crds::agentvm::{AgentVM, RestartPolicy};
use agentvm_policy::EndReason;

use super::world::{NAMESPACE, World, assigned};
use crate::mounts::{Content, Object};
use crate::observed::files::EVERY;

fn settings() -> Object {
    Object {
        kind: ObjectKind::ConfigMap,
        namespace: NAMESPACE.to_owned(),
        name: "settings".to_owned(),
    }
}

pub(super) fn holds(world: &mut World, text: &str) {
    let values = [("app.conf".to_owned(), text.as_bytes().to_vec())];
    let content = Content::Found(values.into_iter().collect());
    world.contents.insert(settings(), content);
}

pub(super) fn mounting(uid: &str, policy: RestartPolicy) -> AgentVM {
    let mut vm = assigned(uid, policy);
    let mounts = serde_json::json!([
        {"path": "/work", "emptyDir": {}},
        {"path": "/etc/app", "configMap": {"name": "settings"}},
    ]);
    vm.spec.mounts = serde_json::from_value(mounts).unwrap();
    vm
}

/// A VM that runs with the content `one`.
fn running() -> World {
    let mut world = World::new();
    holds(&mut world, "one");
    world.apply(mounting("u1", RestartPolicy::Never));
    world.settle();
    assert!(world.record("u1").is_live(), "{:?}", world.record("u1"));
    world
}

/// The digest of what the VM has mounted, as its cell says.
pub(super) fn digest(world: &World, uid: &str) -> String {
    world.cell[uid].spec.mounts[1].sha256().unwrap().to_owned()
}

fn count(world: &World, action: &str) -> usize {
    world.done.iter().filter(|done| **done == action).count()
}

#[test]
fn a_changed_object_reaches_the_vm_within_one_interval_and_nothing_else_is_updated() {
    let mut world = running();
    let old = digest(&world, "u1");
    world.wait(EVERY);
    assert_eq!(
        (count(&world, "ReadContent"), count(&world, "UpdateLive")),
        (1, 0)
    );
    holds(&mut world, "two");
    world.wait(EVERY);
    let new = digest(&world, "u1");
    assert_ne!(old, new);
    for _ in 0..5 {
        world.wait(EVERY);
    }
    assert_eq!(
        (count(&world, "ReadContent"), count(&world, "UpdateLive")),
        (7, 1)
    );
    assert_eq!(digest(&world, "u1"), new);
    assert_eq!(count(&world, "StartVm"), 1, "nothing is run again for it");
}

#[test]
fn one_read_serves_every_vm_that_mounts_the_object() {
    let mut world = running();
    world.apply(mounting("u2", RestartPolicy::Never));
    world.settle();
    holds(&mut world, "two");
    world.wait(EVERY);
    assert_eq!(
        (count(&world, "ReadContent"), count(&world, "UpdateLive")),
        (1, 2)
    );
    assert_eq!(digest(&world, "u1"), digest(&world, "u2"));
}

#[test]
fn a_deleted_object_and_one_that_may_not_be_read_leave_the_old_content() {
    let mut world = running();
    let old = digest(&world, "u1");
    for (content, told) in [
        (Content::Missing, "there is no ConfigMap settings"),
        (Content::Forbidden("allow it".to_owned()), "`allow it`"),
    ] {
        world.contents.insert(settings(), content);
        world.warnings.clear();
        for _ in 0..3 {
            world.wait(EVERY);
        }
        assert_eq!(digest(&world, "u1"), old);
        assert!(
            world.warnings.len() == 1 && world.warnings[0].contains(told),
            "{:?}",
            world.warnings
        );
    }
    holds(&mut world, "two");
    world.wait(EVERY);
    assert_ne!(digest(&world, "u1"), old, "what comes back is followed");
}

#[test]
fn an_optional_object_that_is_deleted_leaves_an_empty_directory_as_the_kubelet_does() {
    let mut world = World::new();
    holds(&mut world, "one");
    let mut vm = mounting("u1", RestartPolicy::Never);
    vm.spec.mounts[1].config_map.as_mut().unwrap().optional = Some(true);
    world.apply(vm);
    world.settle();
    let full = digest(&world, "u1");
    world.contents.insert(settings(), Content::Missing);
    world.wait(EVERY);
    let empty = agentvm_cell_api::mounts::digest(&agentvm_cell_api::mounts::Files::new());
    assert_eq!(digest(&world, "u1"), empty);
    holds(&mut world, "one");
    world.wait(EVERY);
    assert_eq!(digest(&world, "u1"), full);
    assert!(world.warnings.is_empty());
}

#[test]
fn an_adopted_vm_is_compared_by_the_digest_that_its_cell_echoes() {
    let mut world = running();
    let old = digest(&world, "u1");
    holds(&mut world, "two");
    world.start_agent();
    world.settle();
    world.wait(EVERY);
    assert_ne!(digest(&world, "u1"), old);
    assert_eq!(count(&world, "StartVm"), 1);
    world.start_agent();
    world.settle();
    world.wait(EVERY);
    assert_eq!(
        count(&world, "UpdateLive"),
        1,
        "what is current is not updated"
    );
}

#[test]
fn a_vm_that_starts_while_its_object_changes_is_not_left_behind() {
    let mut world = running();
    holds(&mut world, "two");
    world.wait(EVERY);
    // The start of this one read the object before it changed.
    holds(&mut world, "one");
    world.apply(mounting("u2", RestartPolicy::Never));
    world.settle();
    holds(&mut world, "two");
    world.wait(EVERY);
    assert_eq!(digest(&world, "u2"), digest(&world, "u1"));
}

#[test]
fn an_update_that_fails_is_told_once_tried_again_and_holds_up_no_stop() {
    let mut world = running();
    let old = digest(&world, "u1");
    holds(&mut world, "two");
    world.update_fails = Some("limits.storage leaves 3 bytes".to_owned());
    for _ in 0..4 {
        world.wait(EVERY);
    }
    assert_eq!(world.warnings, ["limits.storage leaves 3 bytes"]);
    assert_eq!(digest(&world, "u1"), old);
    world.update_fails = None;
    world.wait(Duration::from_mins(5));
    assert_ne!(digest(&world, "u1"), old);
    // What failed and went well can fail again, and is told again.
    holds(&mut world, "three");
    world.update_fails = Some("limits.storage leaves 3 bytes".to_owned());
    world.wait(EVERY);
    assert_eq!(world.warnings.len(), 2);
    world.edit("u1", |spec| spec.suspend = true);
    world.settle();
    assert!(world.cell.is_empty(), "{:?}", world.record("u1"));
}

#[test]
fn a_key_that_is_gone_leaves_the_old_content_and_is_told() {
    let mut world = World::new();
    holds(&mut world, "one");
    let mut vm = mounting("u1", RestartPolicy::Never);
    let items = serde_json::json!([{"key": "app.conf", "path": "app.conf"}]);
    vm.spec.mounts[1].config_map.as_mut().unwrap().items = serde_json::from_value(items).unwrap();
    world.apply(vm);
    world.settle();
    let old = digest(&world, "u1");
    let other = [("other.conf".to_owned(), Vec::new())];
    let content = Content::Found(other.into_iter().collect());
    world.contents.insert(settings(), content);
    world.wait(EVERY);
    world.wait(EVERY);
    assert_eq!(digest(&world, "u1"), old);
    assert_eq!(world.warnings.len(), 1);
    assert!(
        world.warnings[0].contains("has no key app.conf"),
        "{:?}",
        world.warnings
    );
}

#[test]
fn objects_of_vms_that_have_ended_are_not_read() {
    let mut world = running();
    world.wait(EVERY);
    world.ends("u1", EndReason::Completed);
    world.settle();
    let reads = count(&world, "ReadContent");
    world.wait(Duration::from_hours(1));
    assert_eq!(count(&world, "ReadContent"), reads);
    assert!(world.observed.readings.is_empty());
}
