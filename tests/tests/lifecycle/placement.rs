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

#[test]
fn an_overcommitted_node_is_promised_what_it_says_and_no_more() -> Result<()> {
    let cluster = cluster::shared()?;
    let settings = NodeSettings {
        overcommit_percent: (150, 50),
        ..NodeSettings::reserved()
    };
    let node = cluster.add_node("li-over", &settings)?;
    let path = "/apis/agentvm.dev/v1alpha1/agentnodes/li-over";
    let object = cluster.plane.api.get(path)?.context("its AgentNode")?;
    let allocatable = |field: &str| text(&object, &format!("/status/allocatable/{field}"));
    assert_eq!(
        (allocatable("cpu"), allocatable("memory")),
        ("3".to_owned(), "2Gi".to_owned())
    );
    let namespace = Namespace::create(cluster.plane, "li-over")?;
    let core = only_on(&node, json!({"limits": {"cpu": "1", "memory": "1Mi"}}));
    for vm in ["first", "second", "third"] {
        namespace.run_probe(vm, "stay", &core)?;
        namespace.wait_phase(vm, "Running")?;
    }
    namespace.run_probe("fourth", "stay", &core)?;
    namespace.wait_for("fourth", "no room", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.message.contains("insufficient cpu"))
    })?;
    Ok(())
}

#[test]
fn a_vm_whose_memory_is_raised_beyond_its_node_leaves_and_comes_back_once_it_fits() -> Result<()> {
    let cluster = cluster::shared()?;
    // It offers 4Gi.
    let node = cluster.add_node("li-grow", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-grow")?;
    let of = |memory: &str| {
        let limits = json!({"memory": memory, "cpu": "10m"});
        only_on(&node, json!({"limits": limits, "restartPolicy": "Always"}))
    };
    let others = ["one", "two", "three"];
    for vm in others {
        namespace.run_probe(vm, "stay", &of("1Gi"))?;
    }
    namespace.run_probe("grown", "stay", &of("512Mi"))?;
    let starts = others.map(|vm| namespace.wait_phase(vm, "Running"));
    namespace.wait_phase("grown", "Running")?;
    namespace.run_probe("late", "stay", &of("512Mi"))?;
    namespace.wait_phase("late", "Running")?;

    namespace.change("grown", &json!({"limits": {"memory": "768Mi"}}))?;
    let vm = namespace.wait_for("grown", "Unschedulable", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.reason == "Unschedulable")
    })?;
    let message = condition(&vm, "Placed").context("Placed")?.message;
    ensure!(message.contains("1 insufficient memory"), "{message}");
    let told = namespace.events("grown")?.join("\n");
    ensure!(
        told.contains("768Mi of memory by now") && told.contains("li-grow has 512Mi for it"),
        "{told}"
    );
    for (vm, before) in others.into_iter().zip(starts) {
        let (before, now) = (before?, namespace.vm(vm)?);
        let started = |vm| text(vm, "/status/startedAt");
        assert_eq!(started(&before), started(&now), "{vm} ran on");
    }
    namespace.delete("late")?;
    let back = namespace.wait_phase("grown", "Running")?;
    assert_eq!(text(&back, "/status/effective/limits/memory"), "768Mi");
    Ok(())
}

#[test]
fn cpu_that_is_raised_on_a_full_node_holds_at_once_and_nothing_more_is_placed() -> Result<()> {
    let cluster = cluster::shared()?;
    let node = cluster.add_node("li-raise", &NodeSettings::reserved())?;
    let namespace = Namespace::create(cluster.plane, "li-raise")?;
    let of = |cpu: &str| only_on(&node, json!({"limits": {"cpu": cpu, "memory": "1Mi"}}));
    for vm in ["raised", "beside"] {
        namespace.run_probe(vm, "stay", &of("900m"))?;
        namespace.wait_phase(vm, "Running")?;
    }
    let before = namespace.vm("raised")?;
    namespace.run_probe("third", "stay", &of("200m"))?;
    namespace.wait_phase("third", "Running")?;
    namespace.change("raised", &json!({"limits": {"cpu": "1"}}))?;
    let after = namespace.wait_for("raised", "its new limit", |vm| {
        text(vm, "/status/effective/limits/cpu") == "1"
    })?;
    let started = |vm| text(vm, "/status/startedAt");
    assert_eq!(started(&before), started(&after), "it runs on");
    namespace.run_probe("waiting", "stay", &of("10m"))?;
    namespace.wait_for("waiting", "Unschedulable", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.message.contains("1 insufficient cpu"))
    })?;
    Ok(())
}
