//! What presses VMs: their own limits, and a node that is short of memory.

use std::time::Duration;

use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::vm::{Condition, Namespace, condition, phase, text};
use agentvm_tests::{Result, cluster, scratch, wait};
use anyhow::Context;
use serde_json::{Value, json};

use crate::files::show_used;
use crate::{node_of, only_on};

/// How long a VM is delayed for most of, before that is told.
const MINUTE: Duration = Duration::from_mins(1);

/// Waits for the condition, then for the Event and the metric that tell the same.
fn presses(node: &Node, namespace: &Namespace<'_>, vm: &str, limit: &str) -> Result<Condition> {
    let what = format!("limits.{limit} to press");
    let seen = namespace.wait_for_within(2 * MINUTE, vm, &what, |vm| {
        condition(vm, "LimitsPressure").is_some_and(|told| told.status == "True")
    })?;
    assert_eq!(phase(&seen), "Running", "it goes on: {seen}");
    event(
        namespace,
        vm,
        "LimitsPressure: ",
        &format!("limits.{limit}"),
    )?;
    metric(node, namespace, vm, limit, 1)?;
    condition(&seen, "LimitsPressure").context("it was waited for")
}

fn event(namespace: &Namespace<'_>, vm: &str, reason: &str, part: &str) -> Result<()> {
    wait::until(&format!("the Event {reason:?} on {vm}"), || {
        let events = namespace.events(vm)?;
        let told = events
            .iter()
            .filter(|event| event.starts_with(reason) && event.contains(part));
        Ok(wait::yes_if(told.count() == 1, || format!("{events:?}")))
    })
}

fn metric(node: &Node, namespace: &Namespace<'_>, vm: &str, limit: &str, value: u8) -> Result<()> {
    let labels = format!(
        "namespace=\"{}\",vm=\"{vm}\",limit=\"{limit}\"",
        namespace.name
    );
    let line = format!("agentvm_vm_limits_pressure{{{labels}}} {value}");
    wait::until(&format!("the metric {line}"), || {
        let metrics = node.metrics()?;
        let told = metrics.lines().any(|told| told == line);
        Ok(wait::yes_if(told, || metrics))
    })
}

#[test]
fn a_vm_that_holds_most_of_its_memory_is_told_so() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-full")?;
    let small = json!({"limits": {"memory": "160Mi"}});
    namespace.run_probe("hoarder", "hoard", &small)?;
    let running = namespace.wait_phase("hoarder", "Running")?;
    let node = node_of(cluster, &running)?;
    let told = presses(node, &namespace, "hoarder", "memory")?;
    assert_eq!(told.reason, "MemoryPressure");
    for part in [
        "% of limits.memory is used",
        "of 160Mi",
        "raise spec.limits.memory",
    ] {
        assert!(told.message.contains(part), "{part}: {told:?}");
    }
    metric(node, &namespace, "hoarder", "cpu", 0)
}

#[test]
fn a_vm_that_waits_for_its_cpu_for_most_of_a_minute_is_told_so() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-slow")?;
    let slow = json!({"limits": {"cpu": "10m", "memory": "1Mi"}});
    namespace.run_probe("spinner", "spin", &slow)?;
    let running = namespace.wait_phase("spinner", "Running")?;
    let node = node_of(cluster, &running)?;
    let told = presses(node, &namespace, "spinner", "cpu")?;
    assert_eq!(told.reason, "CpuPressure");
    assert!(told.message.contains("limits.cpu of 10m"), "{told:?}");
    Ok(())
}

#[test]
fn a_limit_that_is_raised_while_the_vm_runs_presses_no_more() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-chatty")?;
    let limits = |total: &str| json!({"limits": {"logTotal": total, "logRate": "1Mi"}});
    namespace.run_probe("speaker", "chatty", &limits("64Ki"))?;
    let running = namespace.wait_phase("speaker", "Running")?;
    let node = node_of(cluster, &running)?;
    let told = presses(node, &namespace, "speaker", "logTotal")?;
    assert_eq!(told.reason, "LogPressure");
    assert!(told.message.contains("87 % of limits.logTotal"), "{told:?}");

    namespace.change("speaker", &limits("1Mi"))?;
    let over = namespace.wait_for_within(2 * MINUTE, "speaker", "no LimitsPressure", |vm| {
        condition(vm, "LimitsPressure").is_none()
    })?;
    let started = |vm: &Value| text(vm, "/status/startedAt");
    assert_eq!(started(&over), started(&running), "it went on: {over}");
    event(&namespace, "speaker", "NoLimitsPressure: ", "")?;
    metric(node, &namespace, "speaker", "logTotal", 0)
}

#[test]
fn d10_vms_whose_cell_goes_for_memory_are_told_whose_it_was_and_neighbours_stay() -> Result<()> {
    let cluster = cluster::shared()?;
    let cgroups = scratch::dir("li-full-cgroups")?;
    show_used(&cgroups, 50_000_000)?;
    let settings = NodeSettings {
        cgroups: Some(cgroups.clone()),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-short", &settings)?;
    let large = Namespace::create(cluster.plane, "li-large")?;
    let small = Namespace::create(cluster.plane, "li-small")?;
    let hoard = only_on(&node, json!({"limits": {"memory": "200Mi"}}));
    large.run_probe("hoarder", "hoard", &hoard)?;
    let stay = only_on(&node, json!({"limits": {"memory": "1Mi"}}));
    small.run_probe("stayer", "stay", &stay)?;
    let before = small.wait_phase("stayer", "Running")?;
    large.wait_phase("hoarder", "Running")?;
    wait::until("the guest to be large", || {
        let stdout = node.warden.stdout()?;
        Ok(wait::yes_if(stdout.contains("full"), || stdout))
    })?;

    show_used(&cgroups, 95_000_000)?;
    wait::until("the large cell to go", || {
        let pid = node.cell_pid(&large.name)?;
        Ok(wait::yes_if(pid.is_none(), || format!("{pid:?}")))
    })?;
    show_used(&cgroups, 50_000_000)?;
    let ended = large.wait_phase("hoarder", "Failed")?;
    assert_eq!(text(&ended, "/status/exit/reason"), "Evicted", "{ended}");
    assert_eq!(text(&ended, "/status/exit/fault"), "Platform", "{ended}");
    assert!(ended["status"]["exit"]["field"].is_null(), "{ended}");
    let message = text(&ended, "/status/exit/message");
    for part in ["the node ran short of memory", "namespace li-large held"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let after = small.vm("stayer")?;
    assert_eq!(after["status"], before["status"], "a neighbour noticed");
    Ok(())
}
