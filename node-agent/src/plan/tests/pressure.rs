//! What presses a VM is told at once, and once; that it is over when it has held.

use std::collections::BTreeSet;
use std::time::Duration;

use agentvm_cell_api::cell::{Usage, VmStatus};
use agentvm_crds::agentvm::RestartPolicy;
use agentvm_policy::{EndReason, LimitField};

use super::world::World;
use crate::report::News;

const SECOND: Duration = Duration::from_secs(1);

fn cell_says(world: &mut World, change: impl FnOnce(&mut VmStatus)) {
    change(world.cell.get_mut("u1").unwrap());
    world.tell_cell("u1");
    world.wait(2 * SECOND);
}

fn presses(world: &mut World, limits: &[LimitField]) {
    let limits: BTreeSet<LimitField> = limits.iter().copied().collect();
    cell_says(world, |vm| vm.limits_pressure = limits);
}

fn news(world: &World) -> Vec<News> {
    let reports = world.told["u1"].iter();
    reports.flat_map(|report| report.news.clone()).collect()
}

/// Reason and message of a condition that is True.
fn condition(world: &World, kind: &str) -> Option<(String, String)> {
    let conditions = &world.objects["u1"].status.as_ref().unwrap().conditions;
    let found = conditions.iter().find(|one| one.type_ == kind)?;
    assert_eq!(found.status, "True");
    Some((found.reason.clone(), found.message.clone()))
}

#[test]
fn pressure_on_storage_is_one_write_more_when_it_begins_and_one_when_it_has_ended() {
    let mut world = World::running(RestartPolicy::Never);
    for pressed in [true, false, true, false] {
        cell_says(&mut world, |vm| vm.storage_pressure = pressed);
    }
    let has = |world: &World| condition(world, "StoragePressure").is_some();
    assert!(has(&world), "an end is told when it has held");
    let wake_at = world.plan().wake_at;
    assert!(wake_at.is_some_and(|at| at <= world.now + 30 * SECOND));
    world.wait(30 * SECOND);
    assert!(!has(&world));
    assert_eq!(
        news(&world),
        [News::Phase, News::StoragePressure, News::NoStoragePressure]
    );
}

#[test]
fn limits_that_press_are_one_write_for_each_that_is_added_and_for_each_that_is_over() {
    let mut world = World::running(RestartPolicy::Never);
    let (memory, cpu) = (LimitField::Memory, LimitField::Cpu);
    presses(&mut world, &[memory]);
    let (reason, message) = condition(&world, "LimitsPressure").unwrap();
    assert_eq!(reason, "MemoryPressure");
    assert!(
        message.contains("limits.memory of 64Mi") && message.contains("raise spec.limits.memory")
    );
    presses(&mut world, &[memory, cpu]);
    let (reason, message) = condition(&world, "LimitsPressure").unwrap();
    assert_eq!(reason, "SeveralLimits");
    assert!(message.contains("limits.cpu of 250m"), "{message}");
    // At the edge: neither an end nor another beginning is told.
    for limits in [&[cpu][..], &[memory, cpu], &[cpu]] {
        presses(&mut world, limits);
    }
    assert_eq!(world.told["u1"].len(), 3);
    world.wait(30 * SECOND);
    assert_eq!(
        condition(&world, "LimitsPressure").unwrap().0,
        "CpuPressure"
    );
    presses(&mut world, &[]);
    let wake_at = world.plan().wake_at;
    assert!(wake_at.is_some_and(|at| at <= world.now + 30 * SECOND));
    world.wait(30 * SECOND);
    assert_eq!(condition(&world, "LimitsPressure"), None);
    let pressure = News::LimitsPressure;
    assert_eq!(
        news(&world),
        [News::Phase, pressure, pressure, News::NoLimitsPressure],
        "that one of two is over is no news"
    );
    assert_eq!(world.told["u1"].len(), 5);
}

#[test]
fn a_report_says_how_much_is_used_where_the_cell_knows() {
    let mut world = World::running(RestartPolicy::Never);
    presses(&mut world, &[LimitField::Cpu]);
    assert!(!world.told["u1"].last().unwrap().asks_for_usage());
    presses(&mut world, &[LimitField::Memory]);
    let report = world.told["u1"].last().unwrap().clone();
    assert!(report.asks_for_usage());
    let usage = Usage {
        memory_bytes: 60 << 20,
        ..Usage::default()
    };
    let said = report.with_usage(&usage);
    let said = said.message(News::LimitsPressure);
    assert!(
        said.contains("93 % of limits.memory is used, 60Mi of 64Mi"),
        "{said}"
    );
}

#[test]
fn a_new_agent_tells_no_pressure_twice() {
    let mut world = World::running(RestartPolicy::Never);
    cell_says(&mut world, |vm| vm.storage_pressure = true);
    presses(&mut world, &[LimitField::Memory, LimitField::LogTotal]);
    assert_eq!(world.told["u1"].len(), 3);
    world.start_agent();
    world.settle();
    assert_eq!(world.told["u1"].len(), 3);
    world.ends("u1", EndReason::Completed);
    world.settle();
    assert_eq!(world.told["u1"].last().unwrap().news, [News::Phase]);
    for kind in ["StoragePressure", "LimitsPressure"] {
        assert_eq!(condition(&world, kind), None);
    }
}

#[test]
fn the_next_run_begins_without_what_pressed_the_last_one() {
    let mut world = World::running(RestartPolicy::Always);
    presses(&mut world, &[LimitField::Memory]);
    world.ends("u1", EndReason::MemoryLimit);
    world.settle();
    assert_eq!(condition(&world, "LimitsPressure"), None);
    world.wait(10 * SECOND);
    assert!(world.record("u1").is_live());
    assert_eq!(condition(&world, "LimitsPressure"), None);
    let exit = world.objects["u1"]
        .status
        .as_ref()
        .unwrap()
        .exit
        .clone()
        .unwrap();
    assert_eq!(exit.field.as_deref(), Some("spec.limits.memory"));
    assert_eq!(exit.fault, Some(agentvm_crds::agentvm::Fault::Program));
}
