//! The death of agents, cells and wardens.

use std::time::Duration;

use agentvm_tests::node::NodeSettings;
use agentvm_tests::process::Process;
use agentvm_tests::vm::{Namespace, number, phase, text};
use agentvm_tests::{Result, cluster, http, process, wait};
use anyhow::Context;
use rustix::process::Signal;
use serde_json::json;

use crate::{held, only_on};

#[test]
fn l01_cells_outlive_a_killed_agent_and_the_next_one_adopts_them() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-agent", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-adopt")?;
    let uid = namespace.run_probe(
        "stayer",
        "stay",
        &only_on(&node, json!({"restartPolicy": "Always"})),
    )?;
    let short = namespace.run_probe("napper", "nap", &only_on(&node, json!({})))?;
    let before = namespace.wait_phase("stayer", "Running")?;
    namespace.wait_phase("napper", "Running")?;
    let (pid, held_before) = (
        node.cell_pid(&namespace.name)?,
        held(&node, &namespace, &uid)?,
    );

    node.agent(Process::crash)?;
    wait::until("the guest to end while no agent is there", || {
        let vm = held(&node, &namespace, &short)?;
        Ok(wait::yes_if(text(&vm, "/state") == "Ended", || {
            vm.to_string()
        }))
    })?;
    node.restart_agent()?;

    let napped = namespace.wait_phase("napper", "Complete")?;
    assert_eq!(number(&napped, "/status/restarts"), 0, "{napped}");
    namespace.change("stayer", &json!({"limits": {"cpu": "30m"}}))?;
    let after = namespace.wait_for("stayer", "the new agent obeys", |vm| {
        text(vm, "/status/effective/limits/cpu") == "30m"
    })?;
    assert_eq!(
        node.cell_pid(&namespace.name)?,
        pid,
        "the cell is another process"
    );
    let held_after = held(&node, &namespace, &uid)?;
    assert_eq!(
        held_after["spec"]["attempt"], held_before["spec"]["attempt"],
        "the guest was started again"
    );
    assert_eq!(
        held_after["startedUnixMs"], held_before["startedUnixMs"],
        "the guest was started again"
    );
    assert_eq!(number(&after, "/status/restarts"), 0, "{after}");
    assert_eq!(
        text(&after, "/status/startedAt"),
        text(&before, "/status/startedAt")
    );
    Ok(())
}

#[test]
fn k16_a_vm_deleted_while_no_agent_runs_is_cleaned_up_by_the_next_one() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-orphan", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-orphan")?;
    let uid = namespace.run_probe("orphan", "stay", &only_on(&node, json!({})))?;
    namespace.wait_phase("orphan", "Running")?;
    node.agent(Process::crash)?;
    namespace.delete("orphan")?;
    node.restart_agent()?;
    node.wait_until_gone(&namespace.name, &uid)
}

#[test]
fn l02_a_killed_cell_takes_only_its_own_namespace_along() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-cell", &NodeSettings::reserved())?;
    let hurt = Namespace::create(cluster.plane, "li-hurt")?;
    let well = Namespace::create(cluster.plane, "li-well")?;
    hurt.run_probe("once", "stay", &only_on(&node, json!({})))?;
    hurt.run_probe(
        "again",
        "stay",
        &only_on(&node, json!({"restartPolicy": "OnFailure"})),
    )?;
    well.run_probe("bystander", "stay", &only_on(&node, json!({})))?;
    let before = well.wait_phase("bystander", "Running")?;
    for vm in ["once", "again"] {
        hurt.wait_phase(vm, "Running")?;
    }
    let cell = node
        .cell_pid(&hurt.name)?
        .context("the namespace has a cell")?;
    process::signal(cell, Signal::KILL)?;

    let once = hurt.wait_phase("once", "Failed")?;
    assert_eq!(text(&once, "/status/exit/reason"), "Evicted", "{once}");
    hurt.wait_for("again", "it runs again", |vm| {
        phase(vm) == "Running" && number(vm, "/status/restarts") == 1
    })?;
    let after = well.vm("bystander")?;
    assert_eq!(after["status"], before["status"], "a neighbour noticed");
    Ok(())
}

#[test]
fn a_killed_warden_takes_its_cells_along_and_a_new_one_serves_again() -> Result<()> {
    let cluster = cluster::shared()?;
    let mut node = cluster.add_node("li-warden", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-warden")?;
    namespace.run_probe(
        "victim",
        "stay",
        &only_on(&node, json!({"restartPolicy": "OnFailure"})),
    )?;
    namespace.wait_phase("victim", "Running")?;
    let cell = node
        .cell_pid(&namespace.name)?
        .context("the namespace has a cell")?;
    node.warden.crash()?;
    wait::until("the cell to end with its warden", || {
        Ok(wait::yes_if(!process::is_alive(cell), || {
            format!("process {cell} lives")
        }))
    })?;
    node.restart_warden()?;
    namespace.wait_for("victim", "it runs again", |vm| {
        phase(vm) == "Running" && number(vm, "/status/restarts") == 1
    })?;
    Ok(())
}

#[test]
fn l07_sigterm_ends_the_agent_and_the_warden_cleanly() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-term", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-term")?;
    namespace.run_probe("stayer", "stay", &only_on(&node, json!({})))?;
    namespace.wait_phase("stayer", "Running")?;
    let cell = node
        .cell_pid(&namespace.name)?
        .context("the namespace has a cell")?;
    let ends_well = |process: &Process| {
        process.signal(Signal::TERM)?;
        process.wait_for_end(Duration::from_secs(20))
    };
    assert!(node.agent(ends_well)?.success(), "the agent");
    assert!(process::is_alive(cell), "a cell outlives its agent");
    assert!(ends_well(&node.warden)?.success(), "the warden");
    assert!(!process::is_alive(cell), "no cell outlives its warden");
    Ok(())
}

#[test]
fn k17_a_second_agent_of_the_same_node_does_nothing_while_the_first_one_lives() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-twin", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-twin")?;
    let twin = node.start_twin()?;
    namespace.run_probe("single", "stay", &only_on(&node, json!({})))?;
    namespace.wait_phase("single", "Running")?;
    assert_eq!(node.vms(&namespace.name)?.len(), 1);
    twin.agent.must_run()?;
    twin.warden.must_run()?;
    wait::until("the twin to say why it waits", || {
        let said = twin.agent.stderr()?;
        Ok(wait::yes_if(
            said.contains("Lease") && said.contains("node-li-twin"),
            || said,
        ))
    })?;
    let ready = http::get(twin.address, "/readyz")?;
    assert_eq!(ready.status, 503, "{ready:?}");
    Ok(())
}
