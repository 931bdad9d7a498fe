//! Agents and cells that go away, and who comes after them.

use std::time::Duration;

use agentvm_crds::agentvm::{ExitStatus, Fault, Phase, RestartPolicy};
use agentvm_policy::EndReason;

use super::world::World;

#[test]
fn a_new_agent_adopts_what_runs_and_writes_nothing() {
    let mut world = World::running(RestartPolicy::Always);
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
        let mut world = World::running(policy);
        world.end_silently("u1", EndReason::Completed);
        world.start_agent();
        world.settle();
        assert_eq!(world.phases("u1"), [Phase::Running, phase]);
    }
}

#[test]
fn a_dead_cell_ends_its_vms_as_evicted() {
    for (policy, phase) in [
        (RestartPolicy::Never, Phase::Failed),
        (RestartPolicy::OnFailure, Phase::BackOff),
    ] {
        let mut world = World::running(policy);
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
        let mut world = World::running(policy);
        world.now += Duration::from_secs(1);
        let ended = world.cell_dies_silently();
        world.now += Duration::from_secs(1);
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
    let mut world = World::running(RestartPolicy::OnFailure);
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
