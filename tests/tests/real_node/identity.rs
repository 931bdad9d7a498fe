//! The tokens that the kubelet gave the real pods, tried where they have no business.

use agentvm_tests::kubectl::Kubectl;
use agentvm_tests::real_node::stage::{SYSTEM, Stage};
use agentvm_tests::{Result, identity};
use anyhow::{Context as _, ensure};
use serde_json::json;

/// A Node whose agent is not the real one.
const OTHER: &str = "basalt";

pub(crate) fn no_identity_reaches_beyond_its_own(stage: &Stage) -> Result<()> {
    let api = &stage.node.plane.api;
    api.create(
        "/api/v1/nodes",
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": OTHER}}),
    )?;
    let guests = stage.namespace("identity")?;
    // Nothing places it: its module never comes, and a selector keeps it off the real node.
    guests.run_probe(
        "elsewhere",
        "hello",
        &json!({"nodeSelector": {"kubernetes.io/hostname": OTHER}}),
    )?;
    let operator = *stage.operators()?.first().context("an operator runs")?;
    let operator = stage.kubectl_of_pod("operator", operator)?;
    let assigned = json!({"assignment": {"nodeName": OTHER, "epoch": 1}});
    operator
        .patch_status("identity", "avm/elsewhere", &assigned)?
        .done()?;

    let agent = stage.kubectl_of_pod("agent", stage.agent()?)?;
    let running = json!({"phase": "Running"});
    let refused = agent
        .patch_status("identity", "avm/elsewhere", &running)?
        .refused()?;
    ensure!(refused.contains(OTHER), "{refused}");
    let moved = json!({"assignment": {"nodeName": agentvm_tests::real_node::NODE, "epoch": 2}});
    agent
        .patch_status("identity", "avm/elsewhere", &moved)?
        .refused()?;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": format!("node-{OTHER}"), "namespace": SYSTEM}, "spec": {"holderIdentity": "thief"},
    });
    let refused = agent.apply(&lease.to_string())?.refused()?;
    ensure!(refused.contains("its own is Lease"), "{refused}");
    let node = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentNode", "metadata": {"name": OTHER}, "spec": {},
    });
    let create = ["create", "--filename", "-"];
    let refused = agent.run_with(&create, &node.to_string())?.refused()?;
    ensure!(refused.contains("may not write AgentNode"), "{refused}");
    for words in [
        ["get", "secrets", "--namespace", "identity"],
        ["get", "secrets", "--namespace", SYSTEM],
        ["delete", "avm/elsewhere", "--namespace", "identity"],
    ] {
        let refused = agent.run(&words)?.refused()?;
        ensure!(refused.contains("orbidden"), "{words:?}: {refused}");
    }
    operator
        .run(&["get", "secrets", "--namespace", "identity"])?
        .refused()?;

    let tenant = Kubectl::new(&identity::tenant(&stage.node.plane, "tessa", "identity")?)?;
    let refused = tenant
        .patch_status("identity", "avm/elsewhere", &running)?
        .refused()?;
    ensure!(refused.contains("orbidden"), "{refused}");
    stage.kubectl(&["delete", "node", OTHER]).map(|_| ())
}
