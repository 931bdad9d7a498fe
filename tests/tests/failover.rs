//! What happens to VMs whose node goes away, and when nothing may happen.

use std::time::Duration;

use agentvm_tests::Result;
use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::node::{Node, NodeSettings};
use agentvm_tests::process::Process;
use agentvm_tests::vm::{Namespace, condition, number, phase, text};
use anyhow::ensure;
use rustix::process::Signal;
use serde_json::{Value, json};

/// A node's Lease lasts 40 s.
const UNTIL_SILENT: Duration = Duration::from_secs(90);

#[test]
fn vms_of_a_node_that_is_gone_run_elsewhere_unless_they_may_run_only_once() -> Result<()> {
    let cluster = cluster::shared()?;
    let [lost, heir] = pair(cluster, "gone")?;
    let namespace = Namespace::create(cluster.plane, "fo-gone")?;
    namespace.run_probe("again", "stay", &on_pair("gone", "OnFailure"))?;
    namespace.run_probe("once", "stay", &on_pair("gone", "Never"))?;
    for vm in ["again", "once"] {
        let vm = namespace.wait_phase(vm, "Running")?;
        assert_eq!(text(&vm, "/status/assignment/nodeName"), lost.name);
    }
    uncordon(cluster, &heir)?;
    lost.agent(Process::crash)?;
    lost.warden.crash()?;
    cluster
        .plane
        .api
        .delete(&format!("/api/v1/nodes/{}", lost.name))?;

    let again = namespace.wait_for("again", "it runs on the other node", |vm| {
        phase(vm) == "Running" && text(vm, "/status/assignment/nodeName") == heir.name
    })?;
    assert_eq!(number(&again, "/status/assignment/epoch"), 2, "{again}");
    let once = namespace.wait_phase("once", "Failed")?;
    assert_eq!(text(&once, "/status/assignment/nodeName"), lost.name);
    let failed = condition(&once, "Failed").map(|failed| (failed.reason, failed.message));
    ensure!(
        failed
            .as_ref()
            .is_some_and(|(reason, message)| reason == "Evicted" && message.contains(&lost.name)),
        "{failed:?}"
    );
    Ok(())
}

#[test]
fn k20_vms_of_a_silent_node_stay_until_someone_says_that_it_is_out_of_service() -> Result<()> {
    let cluster = cluster::shared()?;
    let [mute, heir] = pair(cluster, "mute")?;
    let namespace = Namespace::create(cluster.plane, "fo-mute")?;
    namespace.run_probe("stayer", "stay", &on_pair("mute", "Always"))?;
    let before = namespace.wait_phase("stayer", "Running")?;
    assert_eq!(text(&before, "/status/assignment/nodeName"), mute.name);
    uncordon(cluster, &heir)?;

    let frozen = cluster.add_node("fo-frozen", &NodeSettings::reserved())?;
    let only_there = json!({
        "nodeSelector": {"kubernetes.io/hostname": frozen.name},
        "tolerations": [{"key": "tests", "operator": "Exists"}],
        "restartPolicy": "Always",
    });
    namespace.run_probe("frozen", "stay", &only_there)?;
    let warm = namespace.wait_phase("frozen", "Running")?;
    frozen.agent(|agent| agent.signal(Signal::STOP))?;
    mute.agent(Process::crash)?;
    let silent = namespace.wait_for_within(UNTIL_SILENT, "stayer", "Placed says so", |vm| {
        condition(vm, "Placed").is_some_and(|placed| placed.message.contains("not heard from"))
    })?;
    for field in ["/status/assignment", "/status/phase", "/status/startedAt"] {
        assert_eq!(silent.pointer(field), before.pointer(field), "{field}");
    }
    assert_eq!(
        mute.vms(&namespace.name)?.len(),
        1,
        "the cut-off cell goes on"
    );

    // K21: an agent that freezes for longer than its Lease lasts, and thaws.
    let said = |vm: &Value| {
        condition(vm, "Placed")
            .map(|placed| placed.message)
            .unwrap_or_default()
    };
    namespace.wait_for("frozen", "Placed says so", |vm| {
        said(vm).contains("not heard from")
    })?;
    frozen.agent(|agent| agent.signal(Signal::CONT))?;
    let thawed = namespace.wait_for("frozen", "Placed takes it back", |vm| {
        !said(vm).contains("not heard from")
    })?;
    for field in [
        "/status/assignment",
        "/status/phase",
        "/status/startedAt",
        "/status/restarts",
    ] {
        assert_eq!(thawed.pointer(field), warm.pointer(field), "{field}");
    }

    mute.warden.crash()?;
    let taint = json!([{"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"}]);
    let path = format!("/api/v1/nodes/{}", mute.name);
    cluster
        .plane
        .api
        .patch(&path, &json!({"spec": {"taints": taint}}))?;
    let moved = namespace.wait_for("stayer", "it runs on the other node", |vm| {
        phase(vm) == "Running" && text(vm, "/status/assignment/nodeName") == heir.name
    })?;
    assert_eq!(number(&moved, "/status/assignment/epoch"), 2, "{moved}");
    Ok(())
}

/// Two nodes of one kind, the second one cordoned until it is needed.
fn pair(cluster: &Cluster, kind: &str) -> Result<[Node; 2]> {
    let settings = NodeSettings {
        labels: json!({"tests/pair": kind}),
        ..NodeSettings::reserved()
    };
    let first = cluster.add_node(&format!("fo-{kind}"), &settings)?;
    let second = cluster.add_node(&format!("fo-{kind}-heir"), &settings)?;
    let path = format!("/api/v1/nodes/{}", second.name);
    cluster
        .plane
        .api
        .patch(&path, &json!({"spec": {"unschedulable": true}}))?;
    Ok([first, second])
}

fn uncordon(cluster: &Cluster, node: &Node) -> Result<()> {
    let path = format!("/api/v1/nodes/{}", node.name);
    cluster
        .plane
        .api
        .patch(&path, &json!({"spec": {"unschedulable": null}}))
        .map(|_| ())
}

fn on_pair(kind: &str, restart_policy: &str) -> Value {
    json!({
        "nodeSelector": {"tests/pair": kind},
        "tolerations": [{"key": "tests", "operator": "Exists"}],
        "restartPolicy": restart_policy,
        "limits": {"memory": "1Mi"},
    })
}
