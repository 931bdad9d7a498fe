//! Processes that die while VMs run.

use agentvm_tests::Result;
use agentvm_tests::process::signal;
use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::{number, text};
use agentvm_tests::{panics, wait};
use anyhow::ensure;
use rustix::process::Signal;
use serde_json::{Value, json};

pub(crate) fn vms_outlive_the_agents_container(stage: &Stage) -> Result<()> {
    let guests = stage.namespace("outlive")?;
    guests.run_probe("stays", "stay", &json!({"restartPolicy": "Always"}))?;
    let before = guests.wait_phase("stays", "Running")?;
    let (agent, cell) = (stage.agent()?, stage.cell("outlive")?);

    signal(agent, Signal::KILL)?;
    wait::until("the kubelet to start another agent", || {
        let restarts = restarts(&stage.node_pod()?, "agent");
        Ok(wait::yes_if(restarts == 1, || {
            format!("{restarts} restarts")
        }))
    })?;
    stage.wait_until_ready()?;
    // The new agent works: it sees another VM through.
    guests.run_probe("after", "hello", &json!({}))?;
    guests.wait_phase("after", "Complete")?;

    let after = guests.vm("stays")?;
    assert_eq!(
        after.get("status"),
        before.get("status"),
        "nothing happened to the VM"
    );
    assert_eq!(stage.cell("outlive")?, cell);
    assert_eq!(restarts(&stage.node_pod()?, "cells"), 0);
    Ok(())
}

pub(crate) fn a_cell_takes_only_its_namespace_with_it(stage: &Stage) -> Result<()> {
    let (hit, spared) = (stage.namespace("hit")?, stage.namespace("spared")?);
    for namespace in [&hit, &spared] {
        namespace.run_probe("stays", "stay", &json!({"restartPolicy": "Always"}))?;
    }
    hit.wait_phase("stays", "Running")?;
    let before = spared.wait_phase("stays", "Running")?;

    signal(stage.cell("hit")?, Signal::KILL)?;
    hit.wait_for("stays", "run again, counted", |vm| {
        text(vm, "/status/phase") == "Running" && number(vm, "/status/restarts") == 1
    })?;
    assert_eq!(spared.vm("stays")?.get("status"), before.get("status"));
    assert_eq!(restarts(&stage.node_pod()?, "cells"), 0);
    Ok(())
}

/// How often the kubelet has started a container again.
pub(crate) fn restarts(pod: &Value, container: &str) -> i64 {
    let all = pod
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array);
    let found = all
        .into_iter()
        .flatten()
        .find(|status| text(status, "/name") == container);
    found.map_or(-1, |status| number(status, "/restartCount"))
}

/// L11. A pod that goes takes its counts along, so this is asked before each that does.
pub(crate) fn no_host_code_has_panicked(stage: &Stage) -> Result<()> {
    ensure!(panics::in_metrics(&stage.metrics()?)? == 0);
    panics::ensure_none_in("the node", &stage.cells_log()?)
}
