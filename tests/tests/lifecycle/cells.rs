//! Nodes that run one cell each: one more namespace goes to the other, or waits.

use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::vm::{Namespace, condition, text};
use agentvm_tests::wait;
use agentvm_tests::{Result, cluster};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::only_on;

/// A node with one cell, and one namespace's VMs in it.
fn one_cell() -> NodeSettings {
    NodeSettings {
        labels: json!({"tests/cells": "one"}),
        max_cells: Some(1),
        ..NodeSettings::reserved()
    }
}

/// What a VM asks for that runs on such a node.
fn spec() -> Value {
    json!({
        "nodeSelector": {"tests/cells": "one"},
        "tolerations": [{"key": "tests", "operator": "Exists"}],
        "terminationGracePeriod": "1s",
        "limits": {"cpu": "10m", "memory": "1Mi"},
    })
}

/// Where a VM runs by now.
fn node_of_running(namespace: &Namespace<'_>, vm: &str) -> Result<String> {
    let vm = namespace.wait_phase(vm, "Running")?;
    Ok(text(&vm, "/status/assignment/nodeName"))
}

/// Waits until a VM is not placed for want of a cell; what it says of that.
fn wait_for_no_cell(namespace: &Namespace<'_>, vm: &str) -> Result<String> {
    let vm = namespace.wait_for(vm, "no node has a cell for it", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.message.contains("insufficient cells"))
    })?;
    let placed = condition(&vm, "Placed").context("seen a moment ago")?;
    ensure!(placed.reason == "Unschedulable", "{placed:?}");
    ensure!(
        text(&vm, "/status/assignment/nodeName").is_empty(),
        "it has a node"
    );
    Ok(placed.message)
}

/// Waits until the AgentNode names these namespaces' cells as those in use.
fn wait_for_cells_in_use(node: &Node, expected: &[&str]) -> Result<()> {
    let plane = cluster::installed()?;
    let path = format!("/apis/agentvm.dev/v1alpha1/agentnodes/{}", node.name);
    wait::until(
        &format!("{} to use the cells of {expected:?}", node.name),
        || {
            let object = plane.api.get(&path)?.unwrap_or_default();
            let cells = object["status"]["cells"].clone();
            let cells = if cells.is_null() { json!([]) } else { cells };
            Ok(wait::yes_if(cells == json!(expected), || cells.to_string()))
        },
    )
}

#[test]
fn d10_a_namespace_too_many_goes_to_another_node_or_waits_for_a_cell() -> Result<()> {
    let cluster = cluster::shared()?;
    let nodes = [
        cluster.add_node("li-cell-1", &one_cell())?,
        cluster.add_node("li-cell-2", &one_cell())?,
    ];
    let [heron, egret, stork] = ["heron", "egret", "stork"]
        .map(|name| Namespace::create(cluster.plane, &format!("li-cell-{name}")));
    let (heron, egret, stork) = (heron?, egret?, stork?);
    let first = heron.run_probe("first", "stay", &spec())?;
    let node_of_heron = node_of_running(&heron, "first")?;
    egret.run_probe("second", "stay", &spec())?;
    let node_of_egret = node_of_running(&egret, "second")?;
    ensure!(
        node_of_heron != node_of_egret,
        "both are on {node_of_heron}"
    );

    stork.run_probe("third", "stay", &spec())?;
    let told = wait_for_no_cell(&stork, "third")?;
    let expected = "2 insufficient cells (--max-cells: VMs of 1 namespace at once)";
    ensure!(told.contains(expected), "{told}");

    // A namespace that has a cell needs no other.
    let node = nodes.iter().find(|node| node.name == node_of_heron);
    let node = node.context("heron is on neither node")?;
    heron.run_probe("beside", "stay", &only_on(node, spec()))?;
    ensure!(node_of_running(&heron, "beside")? == node.name);
    wait_for_cells_in_use(node, &[&heron.name])?;
    let metrics = node.metrics()?;
    for line in ["agentvm_cells 1\n", "agentvm_cells_limit 1\n"] {
        ensure!(metrics.contains(line), "{line} in {metrics}");
    }

    // One VM of two is not enough.
    heron.delete("first")?;
    node.wait_until_gone(&heron.name, &first)?;
    wait_for_no_cell(&stork, "third")?;
    heron.delete("beside")?;
    ensure!(node_of_running(&stork, "third")? == node.name);
    wait_for_cells_in_use(node, &[&stork.name])
}
