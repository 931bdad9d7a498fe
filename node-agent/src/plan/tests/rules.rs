//! One rule a test.

use std::time::Duration;

use agentvm_cell_api::cell::VmState;
use agentvm_crds::agentvm::{
    Assignment, EnvVar, EnvVarSource, ExitStatus, Fault, Phase, RestartPolicy,
};
use agentvm_crds::conditions::ImageReason;
use agentvm_policy::EndReason;

use super::world::{NAMESPACE, World, assigned};
use crate::catalogue::Change;
use crate::observed::{Notice, Outcome};
use crate::problem::{Problem, StartReason};

const SECOND: Duration = Duration::from_secs(1);

fn running(policy: RestartPolicy) -> World {
    let mut world = World::new();
    world.apply(assigned("u1", policy));
    world.settle();
    assert!(world.record("u1").is_live(), "{:?}", world.record("u1"));
    world
}

#[test]
fn a_whole_life_is_two_writes_of_the_agent() {
    let mut world = running(RestartPolicy::Never);
    world.ends("u1", EndReason::Completed);
    world.settle();
    world.wait(Duration::from_hours(1));
    assert_eq!(world.phases("u1"), [Phase::Running, Phase::Complete]);
    assert!(
        world.cell.is_empty(),
        "an end that was told is forgotten by the cell"
    );
}

#[test]
fn a_vm_that_ends_before_its_start_was_told_is_told_once() {
    let mut world = World::new();
    world.api_is_down = true;
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    world.ends("u1", EndReason::Error);
    world.api_is_down = false;
    world.wait(SECOND);
    assert_eq!(world.phases("u1"), [Phase::Failed]);
}

#[test]
fn nothing_is_done_before_every_cell_was_listed() {
    let mut world = World::new();
    world.observed.surveyed = false;
    world.apply(assigned("u1", RestartPolicy::Never));
    assert!(world.plan().actions.is_empty());
}

#[test]
fn nothing_is_started_before_the_namespaces_labels_are_known() {
    let mut world = World::new();
    world.change(Change::Namespace {
        name: NAMESPACE.to_owned(),
        labels: None,
    });
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    assert!(
        world.cell.is_empty() && world.done.is_empty(),
        "{:?}",
        world.done
    );
    world.change(Change::Namespace {
        name: NAMESPACE.to_owned(),
        labels: Some([].into()),
    });
    world.settle();
    assert!(world.record("u1").is_live());
}

#[test]
fn a_policy_that_cannot_be_read_starts_nothing() {
    let mut world = World::new();
    world.change(Change::Policies(vec![Err("unreadable".to_owned())]));
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    assert!(world.cell.is_empty());
}

#[test]
fn ten_minutes_of_running_make_the_next_back_off_short_again() {
    let mut world = running(RestartPolicy::Always);
    for _ in 0..4 {
        world.ends("u1", EndReason::Error);
        world.settle();
        world.wait(Duration::from_mins(5));
    }
    world.wait(Duration::from_mins(10));
    world.ends("u1", EndReason::Error);
    world.settle();
    assert_eq!(world.history_of("u1"), crate::backoff::Backoff::after(1));
}

#[test]
fn an_ended_vm_stays_ended_whatever_changes() {
    let mut world = running(RestartPolicy::Never);
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
    let mut world = running(RestartPolicy::Never);
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
    let mut world = running(RestartPolicy::Never);
    world.edit("u1", |spec| spec.args = vec!["new".to_owned()]);
    world.settle();
    assert_eq!(world.starts["u1"], [(1, 0), (1, 1)]);
    assert_eq!(world.record("u1").restarts, 0);
    assert_eq!(world.cell["u1"].spec.args.last().unwrap(), "new");
}

#[test]
fn a_live_limit_is_set_without_another_run() {
    let mut world = running(RestartPolicy::Never);
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
fn a_deleted_vm_is_confirmed_stopped_and_forgotten() {
    let mut world = running(RestartPolicy::Always);
    world.done.clear();
    world.delete("u1");
    world.settle();
    assert_eq!(world.done, ["ConfirmGone", "StopVm", "ForgetVm"]);
    assert!(world.observed.vms.is_empty() && world.cell.is_empty());
}

#[test]
fn a_vm_that_only_left_the_watch_is_never_stopped() {
    let mut world = running(RestartPolicy::Never);
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
    let mut world = running(RestartPolicy::Never);
    world.objects.clear();
    world.done.clear();
    world.start_agent();
    world.settle();
    assert_eq!(world.done, ["ConfirmGone", "StopVm", "ForgetVm"]);
}

#[test]
fn an_object_that_cannot_be_decoded_leaves_its_vm_alone() {
    let mut world = running(RestartPolicy::Never);
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
fn a_new_agent_adopts_what_runs_and_writes_nothing() {
    let mut world = running(RestartPolicy::Always);
    world.done.clear();
    world.start_agent();
    world.settle();
    assert!(world.done.is_empty(), "{:?}", world.done);
    assert!(world.record("u1").is_live());
    assert_eq!(world.record("u1").restarts, 0);
}

#[test]
fn an_end_while_no_agent_runs_is_found_by_the_next_one() {
    for (policy, phase) in [
        (RestartPolicy::Never, Phase::Complete),
        (RestartPolicy::Always, Phase::BackOff),
    ] {
        let mut world = running(policy);
        world.end_silently("u1", EndReason::Completed);
        world.start_agent();
        world.settle();
        assert_eq!(world.phases("u1"), [Phase::Running, phase]);
    }
}

#[test]
fn a_change_while_no_agent_runs_is_followed_by_the_next_one() {
    let mut world = running(RestartPolicy::Never);
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
fn a_dead_cell_ends_its_vms_as_evicted() {
    for (policy, phase) in [
        (RestartPolicy::Never, Phase::Failed),
        (RestartPolicy::OnFailure, Phase::BackOff),
    ] {
        let mut world = running(policy);
        world.cell_dies();
        world.settle();
        assert_eq!(world.phases("u1"), [Phase::Running, phase]);
        assert_eq!(world.told["u1"].last().unwrap().key.reason(), "Evicted");
        let exit = exit(&world);
        assert_eq!(
            exit.message,
            "the cell that it ran in ended: the node ran short of memory"
        );
        assert_eq!(exit.fault, Some(Fault::Platform));
    }
}

fn exit(world: &World) -> ExitStatus {
    let status = world.objects["u1"].status.as_ref().unwrap();
    status.exit.clone().unwrap()
}

#[test]
fn a_cell_that_died_with_its_agent_is_noticed_by_the_next_one() {
    for (policy, starts) in [(RestartPolicy::Never, 1), (RestartPolicy::OnFailure, 2)] {
        let mut world = running(policy);
        world.now += SECOND;
        let ended = world.cell_dies_silently();
        world.now += SECOND;
        world.start_agent();
        world.settle();
        assert_eq!(
            exit(&world).message,
            "the cell that it ran in ended while no agent was watching: the node ran short of memory"
        );
        let finished = exit(&world).finished_at.unwrap().0.as_second();
        assert_eq!(
            finished,
            i64::try_from(ended.finished_unix_ms / 1000).unwrap()
        );
        world.wait(Duration::from_mins(6));
        assert_eq!(world.starts["u1"].len(), starts, "{policy:?}");
    }
}

#[test]
fn a_cell_that_ended_before_a_run_began_is_not_blamed_for_its_end() {
    let mut world = running(RestartPolicy::OnFailure);
    world.cell_dies();
    world.settle();
    world.wait(Duration::from_secs(10));
    assert!(world.record("u1").is_live());
    // The warden forgot the second cell, as it does when it is another process.
    world.cell_dies_silently();
    world.ended_cells.truncate(1);
    world.start_agent();
    world.settle();
    assert_eq!(
        exit(&world).message,
        "the cell that it ran in ended while no agent was watching"
    );
}

#[test]
fn a_new_epoch_ends_the_old_run_first() {
    let mut world = running(RestartPolicy::Never);
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
    let mut world = running(RestartPolicy::Never);
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

#[test]
fn a_vm_assigned_elsewhere_is_stopped_here() {
    let mut world = running(RestartPolicy::Never);
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

#[test]
fn vms_of_one_image_share_one_fetch() {
    let mut world = World::new();
    for uid in ["u1", "u2", "u3"] {
        world.apply(assigned(uid, RestartPolicy::Never));
    }
    world.settle();
    assert_eq!(
        world
            .done
            .iter()
            .filter(|name| **name == "EnsureModule")
            .count(),
        1
    );
    assert_eq!(
        world
            .done
            .iter()
            .filter(|name| **name == "EnsureCell")
            .count(),
        1
    );
    assert_eq!(world.cell.len(), 3);
}

#[test]
fn a_failed_fetch_is_told_once_and_tried_again_less_and_less_often() {
    let mut world = World::new();
    let fetched = world.fetch.clone();
    world.fetch = Err(Problem::new(
        StartReason::Image(ImageReason::ImagePullFailed),
        "not there",
    ));
    world.apply(assigned("u1", RestartPolicy::Never));
    world.settle();
    for _ in 0..600 {
        world.wait(SECOND);
    }
    let tries = world
        .done
        .iter()
        .filter(|name| **name == "EnsureModule")
        .count();
    assert!((6..=10).contains(&tries), "{tries} tries in ten minutes");
    assert_eq!(world.phases("u1"), [Phase::BackOff]);
    world.fetch = fetched;
    world.wait(Duration::from_mins(5));
    assert_eq!(world.phases("u1"), [Phase::BackOff, Phase::Running]);
}

#[test]
fn a_module_that_is_none_fails_at_once_and_for_good() {
    let mut world = World::new();
    world.fetch = Err(Problem::new(
        StartReason::Image(ImageReason::InvalidModule),
        "not wasm",
    ));
    world.apply(assigned("u1", RestartPolicy::Always));
    world.settle();
    world.wait(Duration::from_hours(1));
    assert_eq!(world.phases("u1"), [Phase::Failed]);
    assert_eq!(world.done, ["EnsureModule", "EnsureCell", "ReportStatus"]);
}

#[test]
fn a_config_map_that_comes_late_is_found() {
    let mut world = World::new();
    let mut vm = assigned("u1", RestartPolicy::Never);
    let mut source = EnvVarSource::default();
    source.config_map_key_ref.name = "settings".to_owned();
    source.config_map_key_ref.key = "greeting".to_owned();
    vm.spec.env = vec![EnvVar {
        name: "GREETING".to_owned(),
        value: None,
        value_from: Some(source),
    }];
    vm.spec.args = vec!["$(GREETING)".to_owned()];
    world.apply(vm);
    world.settle();
    assert_eq!(world.phases("u1"), [Phase::BackOff]);
    let map = [("greeting".to_owned(), "good day".to_owned())].into();
    world.config_maps.insert("settings".to_owned(), Some(map));
    world.wait(Duration::from_secs(2));
    assert_eq!(world.cell["u1"].spec.args.last().unwrap(), "good day");
    assert_eq!(world.phases("u1"), [Phase::BackOff, Phase::Running]);
}

#[test]
fn a_list_that_repeats_itself_ends_nothing_twice() {
    let mut world = running(RestartPolicy::Always);
    let old = world.cell["u1"].clone();
    world.ends("u1", EndReason::Error);
    let ended = world.cell["u1"].clone();
    world.settle();
    let before = world.record("u1").clone();
    for vm in [old, ended] {
        world.notice(Notice::CellChanged {
            namespace: NAMESPACE.to_owned(),
            instance: world.instance.to_string(),
            vms: vec![vm],
        });
    }
    assert_eq!(*world.record("u1"), before);
}

#[test]
fn a_cell_that_no_vm_needs_is_ended_after_a_while() {
    let mut world = running(RestartPolicy::Never);
    world.ends("u1", EndReason::Completed);
    world.settle();
    world.wait(SECOND);
    world.wait(Duration::from_secs(59));
    assert!(world.cell_runs);
    world.wait(SECOND);
    assert!(!world.cell_runs);
    world.apply(assigned("u2", RestartPolicy::Never));
    world.settle();
    world.wait(Duration::from_hours(1));
    assert!(world.record("u2").is_live());
}

#[test]
fn an_answer_that_is_read_after_younger_news_changes_nothing() {
    let mut world = running(RestartPolicy::Never);
    let mut old = world.cell["u1"].clone();
    old.state = VmState::Starting;
    old.version = 0;
    let outcome = Outcome::Started {
        uid: "u1".to_owned(),
        result: Ok(old),
    };
    let before = world.record("u1").run.clone();
    world
        .observed
        .finished(outcome, world.catalogue.desired(), world.now);
    assert_eq!(world.record("u1").run, before);
}

#[test]
fn an_api_server_that_is_down_holds_up_no_restart() {
    let mut world = running(RestartPolicy::Always);
    world.api_is_down = true;
    world.ends("u1", EndReason::Error);
    for _ in 0..15 {
        world.wait(SECOND);
    }
    assert_eq!(world.starts["u1"].len(), 2);
}
