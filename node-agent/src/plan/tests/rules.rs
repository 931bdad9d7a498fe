//! One rule a test.

use std::time::Duration;

use agentvm_cell_api::cell::VmState;
use agentvm_crds::agentvm::{EnvVar, EnvVarSource, Phase, RestartPolicy};
use agentvm_crds::conditions::ImageReason;
use agentvm_policy::EndReason;

use super::world::{NAMESPACE, World, assigned};
use crate::catalogue::Change;
use crate::observed::{Notice, Outcome};
use crate::problem::{Problem, StartReason};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_whole_life_is_two_writes_of_the_agent() {
    let mut world = World::running(RestartPolicy::Never);
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
    let mut world = World::running(RestartPolicy::Always);
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
    let mut world = World::running(RestartPolicy::Always);
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
fn an_answer_that_is_read_after_younger_news_changes_nothing() {
    let mut world = World::running(RestartPolicy::Never);
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
    let mut world = World::running(RestartPolicy::Always);
    world.api_is_down = true;
    world.ends("u1", EndReason::Error);
    for _ in 0..15 {
        world.wait(SECOND);
    }
    assert_eq!(world.starts["u1"].len(), 2);
}
