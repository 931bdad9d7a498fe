//! C13 and E18: runs that end at once, and specifications that change all the time.

use std::time::Duration;

use agentvm_crds::agentvm::RestartPolicy;
use agentvm_policy::EndReason;
use proptest::prelude::*;

use super::world::{World, assigned};
use crate::observed::Run;

const SECOND: Duration = Duration::from_secs(1);

fn running(uids: &[&str]) -> World {
    let mut world = World::new();
    for uid in uids {
        world.apply(assigned(uid, RestartPolicy::Always));
    }
    world.settle();
    world
}

fn restarts_told(world: &World, uid: &str) -> usize {
    let status = world.objects[uid].status.as_ref().unwrap();
    usize::try_from(status.restarts.unwrap_or_default()).unwrap()
}

/// Waits until the VM runs again; yields for how long.
fn back_off(world: &mut World, uid: &str) -> Duration {
    let ended = world.now;
    while !world.record(uid).is_live() {
        let wake_at = world.plan().wake_at.unwrap();
        world.wait(wake_at.saturating_sub(world.now));
    }
    world.now.saturating_sub(ended)
}

#[test]
fn c13_a_restart_waits_twice_as_long_each_time_up_to_300_s_and_is_counted() {
    let mut world = running(&["u1"]);
    for (restarts, longest) in [10, 20, 40, 80, 160, 300, 300].into_iter().enumerate() {
        assert_eq!(
            world.record("u1").restarts,
            u32::try_from(restarts).unwrap()
        );
        assert_eq!(restarts_told(&world, "u1"), restarts);
        world.ends("u1", EndReason::Trap);
        world.settle();
        let longest = longest * SECOND;
        let waited = back_off(&mut world, "u1");
        assert!(
            waited <= longest && waited >= longest * 9 / 10,
            "{restarts}: {waited:?}, not nearly {longest:?}"
        );
    }
    let numbers: Vec<u32> = world.starts["u1"]
        .iter()
        .map(|(_, number)| *number)
        .collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn c13_a_module_that_traps_at_once_runs_at_most_12_times_in_ten_minutes() {
    let mut world = running(&["u1"]);
    for _ in 0..600 {
        if world.cell.contains_key("u1") {
            world.ends("u1", EndReason::Trap);
        }
        world.wait(SECOND);
    }
    let runs = world.starts["u1"].len();
    assert!((4..=12).contains(&runs), "{runs}");
    assert_eq!(restarts_told(&world, "u1"), runs - 1);
}

#[test]
fn c13_vms_that_end_together_do_not_start_together() {
    let mut world = running(&["u1", "u2", "u3", "u4"]);
    world.cell_dies();
    world.settle();
    let mut moments = 0;
    while world.observed.vms.values().any(|record| !record.is_live()) {
        let before = world.cell.len();
        let wake_at = world.plan().wake_at.unwrap();
        world.wait(wake_at.saturating_sub(world.now));
        moments += usize::from(world.cell.len() > before);
    }
    assert_eq!(moments, 4);
}

#[test]
fn c13_an_agent_that_dies_all_the_time_neither_ends_a_back_off_nor_makes_it_endless() {
    let mut world = running(&["u1"]);
    for _ in 0..5 {
        world.ends("u1", EndReason::Trap);
        world.settle();
        back_off(&mut world, "u1");
    }
    // While it runs, too.
    world.start_agent();
    world.settle();
    world.ends("u1", EndReason::Trap);
    world.settle();
    let ended = world.now;
    while !world.record("u1").is_live() && world.now < ended + 1_000 * SECOND {
        world.wait(20 * SECOND);
        world.start_agent();
        world.settle();
    }
    let waited = world.now.saturating_sub(ended);
    assert!(
        waited >= 270 * SECOND && waited <= 321 * SECOND,
        "{waited:?}"
    );
    assert_eq!(world.record("u1").restarts, 6);
}

#[test]
fn e18_an_agent_that_dies_between_two_runs_of_a_change_loses_none() {
    for policy in [RestartPolicy::Never, RestartPolicy::Always] {
        let mut world = World::new();
        world.apply(assigned("u1", policy));
        world.settle();
        world.edit("u1", |spec| spec.args = vec!["new".to_owned()]);
        while world.cell.contains_key("u1") {
            let action = world.plan().actions.swap_remove(0);
            world.carry_out(action);
        }
        world.start_agent();
        world.settle();
        assert!(world.record("u1").is_live(), "{:?}", world.record("u1"));
        assert_eq!(world.cell["u1"].spec.args[1], "new");
        assert_eq!(world.record("u1").exit, None);
    }
}

/// How a run goes on, in a life of runs that end.
#[derive(Clone, Copy, Debug)]
enum Beat {
    RunsFor(u64),
    AgentDies,
}

fn beat() -> impl Strategy<Value = Beat> {
    prop_oneof![
        6 => Just(Beat::RunsFor(0)),
        2 => (1_u64..700).prop_map(Beat::RunsFor),
        1 => Just(Beat::AgentDies),
    ]
}

proptest! {
    #[test]
    fn c13_no_life_has_more_than_12_restarts_in_any_ten_minutes(life in prop::collection::vec(beat(), 1..40)) {
        let mut world = running(&["u1"]);
        let mut starts = vec![world.now];
        for beat in life {
            match beat {
                Beat::RunsFor(seconds) => {
                    world.wait(Duration::from_secs(seconds));
                    world.ends("u1", EndReason::Trap);
                    world.settle();
                    let waited = back_off(&mut world, "u1");
                    prop_assert!(waited >= 9 * SECOND, "{waited:?}");
                    starts.push(world.now);
                }
                Beat::AgentDies => {
                    world.start_agent();
                    world.settle();
                }
            }
        }
        for (index, start) in starts.iter().enumerate() {
            let soon = starts[index..].iter().filter(|other| other.saturating_sub(*start) <= 600 * SECOND);
            prop_assert!(soon.count() <= 12, "{starts:?}");
        }
        prop_assert_eq!(world.record("u1").restarts, u32::try_from(starts.len() - 1).unwrap());
        prop_assert_eq!(restarts_told(&world, "u1"), starts.len() - 1);
    }

    /// The cell of [`World`] refuses a second run of one VM beside the first: that would fail here.
    #[test]
    fn e18_of_a_hundred_changes_a_second_the_last_one_wins_and_nothing_else_is_left(
        steps in prop::collection::vec(prop::collection::vec(0_usize..4, 0..6), 100),
        dies in 0_usize..200,
        deleted in any::<bool>(),
    ) {
        let mut world = running(&["u1"]);
        for (number, actions) in steps.iter().enumerate() {
            world.edit("u1", |spec| spec.args = vec![format!("of-{number}")]);
            if number == dies {
                world.start_agent();
            }
            // Some of what is planned happens between two changes, in any order.
            for index in actions {
                let mut planned = world.plan().actions;
                if !planned.is_empty() {
                    let index = index % planned.len();
                    world.carry_out(planned.swap_remove(index));
                }
            }
            prop_assert!(world.cell.len() <= 1);
            world.now += Duration::from_millis(10);
        }
        if deleted {
            world.delete("u1");
        }
        world.settle();
        world.wait(SECOND);
        if deleted {
            prop_assert!(world.cell.is_empty() && world.observed.vms.is_empty());
            return Ok(());
        }
        prop_assert_eq!(&world.cell["u1"].spec.args[1..], &["of-99".to_owned()]);
        let record = world.record("u1");
        prop_assert!(matches!(record.run, Run::Live { .. }), "{:?}", record);
        prop_assert_eq!(record.restarts, 0);
        let status = world.objects["u1"].status.as_ref().unwrap();
        prop_assert_eq!(status.observed_generation, world.objects["u1"].metadata.generation);
        let grows = world.starts["u1"].windows(2).all(|pair| pair[0] < pair[1]);
        prop_assert!(grows || dies < steps.len(), "{:?}", world.starts["u1"]);
    }
}
