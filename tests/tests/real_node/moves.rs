//! VMs whose node is cordoned, tainted, upgraded or rolled back.

use agentvm_tests::Result;
use agentvm_tests::real_node::NODE;
use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::{Namespace, condition, phase, seen, text};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

pub(crate) fn a_cordoned_node_takes_no_new_vm(stage: &Stage) -> Result<()> {
    let guests = stage.namespace("cordon")?;
    guests.run_probe("before", "stay", &json!({"restartPolicy": "Always"}))?;
    let before = guests.wait_phase("before", "Running")?;
    stage.kubectl(&["cordon", NODE])?;
    guests.run_probe("after", "stay", &json!({}))?;
    guests.wait_for("after", "unschedulable", |vm| placed_says(vm, "cordoned"))?;
    assert_eq!(
        guests.vm("before")?.get("status"),
        before.get("status"),
        "what runs goes on"
    );
    stage.kubectl(&["uncordon", NODE])?;
    guests.wait_phase("after", "Running").map(|_| ())
}

pub(crate) fn a_no_execute_taint_evicts_what_does_not_tolerate_it(stage: &Stage) -> Result<()> {
    let guests = stage.namespace("taint")?;
    let tolerates = json!([{"key": "maintenance", "operator": "Exists", "effect": "NoExecute"}]);
    guests.run_probe(
        "tolerates",
        "stay",
        &json!({"restartPolicy": "Always", "tolerations": tolerates}),
    )?;
    guests.run_probe("comes-back", "stay", &json!({"restartPolicy": "Always"}))?;
    guests.run_probe("runs-once", "stay", &json!({"restartPolicy": "Never"}))?;
    let before = guests.wait_phase("tolerates", "Running")?;
    for vm in ["comes-back", "runs-once"] {
        guests.wait_phase(vm, "Running")?;
    }
    stage.kubectl(&["taint", "node", NODE, "maintenance=now:NoExecute"])?;
    is_evicted(&guests, "runs-once")?;
    guests.wait_for("comes-back", "wait for room", |vm| {
        phase(vm) == "Pending" && placed_says(vm, "maintenance")
    })?;
    assert_eq!(guests.vm("tolerates")?.get("status"), before.get("status"));
    stage.kubectl(&["taint", "node", NODE, "maintenance-"])?;
    let back = guests.wait_phase("comes-back", "Running")?;
    assert_eq!(
        back.pointer("/status/assignment/epoch"),
        Some(&json!(2)),
        "{}",
        seen(&back)
    );
    stage.wait_until_ready()
}

pub(crate) fn an_upgrade_stops_vms_with_grace(stage: &Stage) -> Result<()> {
    let guests = stage.namespace("upgrade")?;
    guests.run_probe("comes-back", "stay", &json!({"restartPolicy": "Always"}))?;
    guests.run_probe("runs-once", "stay", &json!({"restartPolicy": "Never"}))?;
    for vm in ["comes-back", "runs-once"] {
        guests.wait_phase(vm, "Running")?;
    }
    let old = text(&stage.node_pod()?, "/metadata/uid");
    stage.change_release(&[
        "upgrade",
        "agentvm",
        &Stage::chart(),
        "--reuse-values",
        "--set",
        &super::state::prepare(stage)?,
    ])?;
    let new = text(&stage.node_pod()?, "/metadata/uid");
    ensure!(old != new, "the upgrade left the pod as it was");
    is_evicted(&guests, "runs-once")?;
    let back = guests.wait_phase("comes-back", "Running")?;
    assert_eq!(
        back.pointer("/status/assignment/epoch"),
        Some(&json!(2)),
        "{}",
        seen(&back)
    );
    Ok(())
}

pub(crate) fn a_rollback_keeps_the_objects(stage: &Stage) -> Result<()> {
    let uids = |stage: &Stage| {
        let names = "jsonpath={.items[*].metadata.uid}";
        stage.kubectl(&["get", "agentvms", "--namespace=default", "--output", names])
    };
    let before = uids(stage)?;
    ensure!(!before.is_empty());
    stage.change_release(&["rollback", "agentvm"])?;
    assert_eq!(uids(stage)?, before, "every AgentVM is the one it was");
    let path = "/apis/agentvm.dev/v1alpha1/namespaces/default/agentvms/echo";
    agentvm_tests::wait::until("the example to run again", || {
        let echo = stage.object(path)?;
        Ok(agentvm_tests::wait::yes_if(
            phase(&echo) == "Running",
            || seen(&echo),
        ))
    })
}

fn is_evicted(guests: &Namespace<'_>, vm: &str) -> Result<()> {
    let failed = guests.wait_phase(vm, "Failed")?;
    let condition = condition(&failed, "Failed").context("Failed")?;
    assert_eq!(condition.reason, "Evicted", "{}", seen(&failed));
    Ok(())
}

fn placed_says(vm: &Value, part: &str) -> bool {
    condition(vm, "Placed")
        .is_some_and(|placed| placed.status == "False" && placed.message.contains(part))
}
