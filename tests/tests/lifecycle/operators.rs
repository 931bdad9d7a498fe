//! Operators that die, freeze, or read what they can't decode.

use std::time::Duration;

use agentvm_tests::audit::AuditedWrite;
use agentvm_tests::cluster::Cluster;
use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::operator::Operator;
use agentvm_tests::process::Process;
use agentvm_tests::vm::{Namespace, condition, manifest, text};
use agentvm_tests::wait::Look;
use agentvm_tests::{Result, cluster, wait};
use anyhow::Context;
use rustix::process::Signal;
use serde_json::{Value, json};

#[test]
fn k18_the_second_operator_waits_and_takes_over_when_the_first_is_killed() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-lead")?;
    let second = cluster.start_operator("operator-1")?;
    for number in 0..5 {
        namespace.run_probe(&format!("early-{number}"), "hello", &json!({}))?;
    }
    for number in 0..5 {
        namespace.wait_phase(&format!("early-{number}"), "Complete")?;
    }
    let placed_by = |vm: &str| {
        let writes = operator_writes(cluster, &namespace, vm)?;
        let pods = writes.into_iter().map(|write| write.pod);
        anyhow::Ok(pods.collect::<Vec<_>>())
    };
    for number in 0..5 {
        assert_eq!(
            placed_by(&format!("early-{number}"))?,
            ["operator-0"],
            "two operators act"
        );
    }
    cluster.operator(|operator| operator.process.crash())?;
    namespace.run_probe("late", "hello", &json!({}))?;
    namespace.wait_phase("late", "Complete")?;
    assert_eq!(placed_by("late")?, ["operator-1"]);

    drop(cluster.replace_operator(second));
    frozen_leader(cluster, &namespace)?;

    let full = full_node(cluster, &namespace)?;
    let last = |operator: &Operator| {
        operator.process.signal(Signal::TERM)?;
        operator.process.wait_for_end(Duration::from_secs(20))
    };
    assert!(
        cluster.operator(last)?.success(),
        "the operator ends cleanly"
    );
    // Nobody leads who has seen the smaller limit.
    namespace.change("grown", &json!({"limits": {"memory": "513Mi"}}))?;
    drop(cluster.replace_operator(cluster.start_operator("operator-3")?));
    namespace.run_probe("later", "hello", &json!({}))?;
    // An operator that ended cleanly has given up its Lease: no one waits for it to expire.
    namespace.wait_for_within(Duration::from_secs(10), "later", "placed", is_placed)?;
    leaves_for_want_of_room(&namespace, &full)
}

/// A node of 4Gi whose VMs leave nothing of it.
fn full_node(cluster: &Cluster, namespace: &Namespace<'_>) -> Result<Node> {
    let node = cluster.add_node("li-full", &NodeSettings::reserved())?;
    let half = ("beside", "512Mi");
    let whole = ["one", "two", "three"].map(|vm| (vm, "1Gi"));
    for (vm, memory) in whole.into_iter().chain([half, ("grown", "512Mi")]) {
        let limits = json!({"memory": memory, "cpu": "10m"});
        let spec = json!({"limits": limits, "restartPolicy": "Always"});
        namespace.run_probe(vm, "stay", &crate::only_on(&node, spec))?;
        let vm = namespace.wait_phase(vm, "Running")?;
        assert_eq!(text(&vm, "/status/assignment/claimed/memory"), memory);
    }
    Ok(node)
}

/// What the next leader has to see by the object alone: the node never had what is asked for now.
fn leaves_for_want_of_room(namespace: &Namespace<'_>, node: &Node) -> Result<()> {
    let vm = namespace.wait_for("grown", "Unschedulable", |vm| {
        condition(vm, "Placed").is_some_and(|found| found.reason == "Unschedulable")
    })?;
    assert_eq!(text(&vm, "/status/assignment/claimed/memory"), "512Mi");
    let beside = namespace.vm("beside")?;
    assert_eq!(text(&beside, "/status/assignment/nodeName"), node.name);
    namespace.change("grown", &json!({"limits": {"memory": "512Mi"}}))?;
    namespace.wait_phase("grown", "Running").map(|_| ())
}

/// What operators wrote of a VM's status. The API server logs a write only after everyone could see
/// it, so that the log may be behind a VM that has run already.
fn operator_writes(
    cluster: &Cluster,
    namespace: &Namespace<'_>,
    vm: &str,
) -> Result<Vec<AuditedWrite>> {
    wait::until(&format!("the placement of {vm} to be logged"), || {
        let mut writes = cluster.plane.audit.status_writes(&namespace.name, vm)?;
        writes.retain(|write| write.account() == "agentvm-operator");
        let done = writes.iter().any(|write| write.code < 300);
        Ok(if done {
            Look::Yes(writes)
        } else {
            Look::NotYet(format!("{writes:?}"))
        })
    })
}

/// K18: the leader freezes, another one takes over, and the first one thaws in the belief that it
/// still leads.
fn frozen_leader(cluster: &Cluster, namespace: &Namespace<'_>) -> Result<()> {
    let next = cluster.start_operator("operator-2")?;
    cluster.operator(|operator| operator.process.signal(Signal::STOP))?;
    for number in 0..5 {
        namespace.run_probe(&format!("limbo-{number}"), "hello", &json!({}))?;
    }
    namespace.wait_for("limbo-0", "the next operator acts", is_placed)?;
    let thawed = cluster.replace_operator(next);
    thawed.process.signal(Signal::CONT)?;
    for number in 5..10 {
        namespace.run_probe(&format!("limbo-{number}"), "hello", &json!({}))?;
    }
    for number in 0..10 {
        let name = format!("limbo-{number}");
        let vm = namespace.wait_phase(&name, "Complete")?;
        assert_eq!(vm["status"]["assignment"]["epoch"], 1, "placed twice: {vm}");
        let mut writes = operator_writes(cluster, namespace, &name)?;
        writes.retain(|write| write.code < 300);
        assert_eq!(writes.len(), 1, "two operators act: {writes:#?}");
    }
    wait::until("the first one to know that it leads no more", || {
        let metrics = thawed.metrics()?;
        Ok(wait::yes_if(
            metrics.contains("agentvm_operator_leader 0"),
            || metrics,
        ))
    })
}

fn is_placed(vm: &Value) -> bool {
    !text(vm, "/status/assignment/nodeName").is_empty()
}

#[test]
fn k03_an_object_that_cannot_be_decoded_poisons_nothing() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-poison")?;
    let grace =
        "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/terminationGracePeriod";
    let crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/agentvms.agentvm.dev";
    let strict = cluster
        .plane
        .api
        .get(crd)?
        .context("our CRD")?
        .pointer(grace)
        .context("the field's schema")?
        .clone();
    let set = |schema: &Value| {
        let patch = json!([{"op": "replace", "path": grace, "value": schema}]).to_string();
        let args = [
            "patch",
            "crd",
            "agentvms.agentvm.dev",
            "--type=json",
            "-p",
            &patch,
        ];
        cluster.plane.kubectl.run(&args)?.done()
    };
    // An API server of another version of ours may let through what this one can't read.
    set(&json!({"x-kubernetes-int-or-string": true}))?;
    let module = namespace.module("hello")?;
    let strange = manifest(
        "strange",
        &json!({"module": module, "terminationGracePeriod": 7}),
    );
    let created = wait::until("the API server to take the relaxed schema", || {
        let said = cluster.plane.kubectl.run_with(
            &["-n", &namespace.name, "apply", "-f", "-"],
            &strange.to_string(),
        )?;
        Ok(wait::yes_if(said.ok, || said.stderr))
    });
    set(&strict)?;
    created?;
    namespace.run_probe("healthy", "hello", &json!({}))?;
    namespace.wait_phase("healthy", "Complete")?;
    cluster.operator(|operator| operator.process.must_run())?;
    for node in &cluster.nodes {
        node.agent(Process::must_run)?;
    }
    Ok(())
}
