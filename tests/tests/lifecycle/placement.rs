//! VMs that fit nowhere, and what makes them fit.

use agentvm_tests::node::NodeSettings;
use agentvm_tests::vm::{Namespace, condition, phase, text};
use agentvm_tests::{Result, cluster};
use anyhow::{Context, ensure};
use serde_json::json;

use crate::only_on;

#[test]
fn a_vm_that_fits_nowhere_says_why_and_is_placed_once_it_fits() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-fit")?;
    let spec = json!({"nodeSelector": {"tests/late": "yes"}});
    namespace.run_probe("patient", "stay", &spec)?;
    let vm = namespace.wait_for("patient", "Placed is Unschedulable", |vm| {
        condition(vm, "Placed")
            .is_some_and(|found| found.status == "False" && found.reason == "Unschedulable")
    })?;
    assert_eq!(phase(&vm), "Pending");
    let message = condition(&vm, "Placed").context("Placed")?.message;
    ensure!(
        message.starts_with("0/")
            && message.contains("nodes: ")
            && message.contains("nodeSelector"),
        "{message}"
    );

    let late = NodeSettings {
        labels: json!({"tests/late": "yes"}),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-late", &late)?;
    let tainted = namespace.wait_for("patient", "the taint is named", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.message.contains("taint"))
    })?;
    assert_eq!(phase(&tainted), "Pending");
    let patch = json!({"spec": {"taints": null}});
    cluster.plane.api.patch("/api/v1/nodes/li-late", &patch)?;
    let placed = namespace.wait_phase("patient", "Running")?;
    assert_eq!(text(&placed, "/status/assignment/nodeName"), node.name);
    cluster.plane.api.patch(
        "/api/v1/nodes/li-late",
        &json!({"spec": {"unschedulable": true}}),
    )?;
    namespace.run_probe("cordoned", "stay", &spec)?;
    namespace.wait_for("cordoned", "no place on a cordoned node", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.reason == "Unschedulable")
    })?;
    assert_eq!(
        phase(&namespace.vm("patient")?),
        "Running",
        "a cordon evicts nobody"
    );
    Ok(())
}

#[test]
fn room_that_another_vm_frees_is_taken_at_once() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-room", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-room")?;
    let core = || only_on(&node, json!({"limits": {"cpu": "1", "memory": "1Mi"}}));
    for vm in ["first", "second"] {
        namespace.run_probe(vm, "stay", &core())?;
        namespace.wait_phase(vm, "Running")?;
    }
    namespace.run_probe("waiting", "stay", &core())?;
    let vm = namespace.wait_for("waiting", "Unschedulable", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.reason == "Unschedulable")
    })?;
    let message = condition(&vm, "Placed").context("Placed")?.message;
    ensure!(message.contains("1 insufficient cpu"), "{message}");
    namespace.delete("first")?;
    namespace.wait_phase("waiting", "Running").map(|_| ())
}
