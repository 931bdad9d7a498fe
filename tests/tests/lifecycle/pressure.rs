//! What presses VMs: their own limits, and a node that is short of memory.

use std::time::Duration;

use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::vm::{Condition, Namespace, condition, number, phase, text};
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
    let seen = namespace.wait_for_within(3 * MINUTE, vm, &what, |vm| {
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
    // One step of it takes much more than its quota: what a busy machine adds is little beside that.
    let slow = json!({"limits": {"cpu": "10m", "memory": "200Mi"}});
    namespace.run_probe("filler", "fill", &slow)?;
    let running = namespace.wait_phase("filler", "Running")?;
    let node = node_of(cluster, &running)?;
    let told = presses(node, &namespace, "filler", "cpu")?;
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
fn d10_vms_whose_cell_goes_for_memory_are_told_so() -> Result<()> {
    let cluster = cluster::shared()?;
    let cgroups = scratch::dir("li-full-cgroups")?;
    show_used(&cgroups, 50_000_000)?;
    let settings = NodeSettings {
        cgroups: Some(cgroups.clone()),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-short", &settings)?;
    let namespace = Namespace::create(cluster.plane, "li-large")?;
    for (vm, policy) in [("once", "Never"), ("again", "Always")] {
        let spec = only_on(&node, json!({"restartPolicy": policy}));
        namespace.run_probe(vm, "stay", &spec)?;
    }
    for vm in ["once", "again"] {
        namespace.wait_phase(vm, "Running")?;
    }
    show_used(&cgroups, 95_000_000)?;
    let once = namespace.wait_phase("once", "Failed")?;
    show_used(&cgroups, 50_000_000)?;
    let again = namespace.wait_for("again", "it runs again", |vm| {
        phase(vm) == "Running" && number(vm, "/status/restarts") == 1
    })?;
    for ended in [once, again] {
        assert_eq!(text(&ended, "/status/exit/reason"), "Evicted", "{ended}");
        assert_eq!(text(&ended, "/status/exit/fault"), "Platform", "{ended}");
        assert!(ended["status"]["exit"]["field"].is_null(), "{ended}");
        let message = text(&ended, "/status/exit/message");
        for part in [
            "the node ran short of memory",
            "the cell of namespace li-large held",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    Ok(())
}
