//! Guests that fill the container `cells`.

use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::text;
use agentvm_tests::{Result, wait};
use anyhow::ensure;
use serde_json::json;

use super::crashes::restarts;

/// Half of the limit, which one guest holds, is where the largest cell has to go.
const SMALL: &str = "node.cells.resources.limits.memory=280Mi,\
    node.cells.resources.requests.memory=128Mi,node.memoryPercent=50,node.compile.memoryMiB=128";

pub(crate) fn the_largest_cell_goes_before_the_container_does(stage: &Stage) -> Result<()> {
    let chart = Stage::chart();
    let upgrade = [
        "upgrade",
        "agentvm",
        &chart,
        "--reuse-values",
        "--set",
        SMALL,
    ];
    stage.change_release(&upgrade)?;
    let (large, small) = (stage.namespace("large")?, stage.namespace("small")?);
    let limits = |memory: &str| json!({"restartPolicy": "Always", "limits": {"memory": memory}});
    small.run_probe("stays", "stay", &limits("8Mi"))?;
    let before = small.wait_phase("stays", "Running")?;
    large.run_probe("hoards", "hoard", &limits("150Mi"))?;
    large.wait_for("hoards", "lose its cell", |vm| {
        text(vm, "/status/exit/message").contains("the node ran short of memory")
    })?;
    wait::until("the warden's word on it", || {
        let log = stage.cells_log()?;
        let told = log
            .lines()
            .any(|line| line.contains("a process is ended") && line.contains("large"));
        Ok(wait::yes_if(told, || log))
    })?;
    assert_eq!(small.vm("stays")?.get("status"), before.get("status"));
    let pod = stage.node_pod()?;
    assert_eq!(restarts(&pod, "cells"), 0, "the kernel killed nothing");
    ensure!(!pod.to_string().contains("OOMKilled"), "{pod}");
    Ok(())
}
