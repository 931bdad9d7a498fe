//! What a change of an object does to its run.

use agentvm_crds::agentvm::{Phase, RestartPolicy};
use agentvm_policy::EndReason;

use super::world::World;
use crate::catalogue::Change;

#[test]
fn an_ended_vm_stays_ended_whatever_changes() {
    let mut world = World::running(RestartPolicy::Never);
    world.ends("u1", EndReason::Completed);
    world.settle();
    world.edit("u1", |spec| spec.args = vec!["new".to_owned()]);
    world.edit("u1", |spec| spec.suspend = true);
    world.settle();
    world.edit("u1", |spec| spec.suspend = false);
    world.settle();
    world.start_agent();
    world.settle();
    assert_eq!(world.starts["u1"].len(), 1);
    assert!(world.phases("u1").ends_with(&[Phase::Complete]));
}

#[test]
fn suspension_stops_and_resuming_runs_again_uncounted() {
    let mut world = World::running(RestartPolicy::Never);
    world.edit("u1", |spec| spec.suspend = true);
    world.settle();
    assert!(world.cell.is_empty());
    world.edit("u1", |spec| spec.suspend = false);
    world.settle();
    assert_eq!(
        world.phases("u1"),
        [Phase::Running, Phase::Suspended, Phase::Running]
    );
    assert_eq!(
        (world.record("u1").restarts, world.starts["u1"].len()),
        (0, 2)
    );
}

#[test]
fn a_field_that_takes_another_run_gets_it_at_once_and_uncounted() {
    let mut world = World::running(RestartPolicy::Never);
    world.edit("u1", |spec| spec.args = vec!["new".to_owned()]);
    world.settle();
    assert_eq!(world.starts["u1"], [(1, 0), (1, 1)]);
    assert_eq!(world.record("u1").restarts, 0);
    assert_eq!(world.cell["u1"].spec.args.last().unwrap(), "new");
}

#[test]
fn a_live_limit_is_set_without_another_run() {
    let mut world = World::running(RestartPolicy::Never);
    world.edit("u1", |spec| {
        let limits = spec.limits.get_or_insert_default();
        limits.cpu = Some(k8s_openapi::apimachinery::pkg::api::resource::Quantity(
            "50m".to_owned(),
        ));
    });
    world.settle();
    assert_eq!(world.starts["u1"].len(), 1);
    assert_eq!(world.cell["u1"].spec.grants.limits.cpu_millicores, 50);
    assert_eq!(
        world
            .done
            .iter()
            .filter(|name| **name == "UpdateLive")
            .count(),
        1
    );
}

#[test]
fn a_change_while_no_agent_runs_is_followed_by_the_next_one() {
    let mut world = World::running(RestartPolicy::Never);
    let mut vm = world.objects["u1"].clone();
    vm.spec.args = vec!["new".to_owned()];
    vm.metadata.generation = Some(2);
    world.objects.insert("u1".to_owned(), vm);
    world.start_agent();
    world.settle();
    assert_eq!(world.starts["u1"], [(1, 0), (1, 1)]);
    assert_eq!(world.record("u1").restarts, 0);
}

#[test]
fn a_new_epoch_ends_the_old_run_first() {
    let mut world = World::running(RestartPolicy::Never);
    let mut vm = world.objects["u1"].clone();
    vm.status
        .as_mut()
        .unwrap()
        .assignment
        .as_mut()
        .unwrap()
        .epoch = 2;
    world.done.clear();
    world.apply(vm);
    world.settle();
    assert_eq!(world.starts["u1"], [(1, 0), (2, 0)]);
    assert_eq!(world.done.first(), Some(&"StopVm"));
}

#[test]
fn an_old_epoch_from_a_stale_watch_starts_nothing() {
    let mut world = World::running(RestartPolicy::Never);
    let old = world.objects["u1"].clone();
    let mut new = old.clone();
    new.status
        .as_mut()
        .unwrap()
        .assignment
        .as_mut()
        .unwrap()
        .epoch = 2;
    world.apply(new);
    world.settle();
    world.done.clear();
    world.change(Change::Vm(Box::new(old)));
    world.settle();
    assert!(world.done.is_empty(), "{:?}", world.done);
}
