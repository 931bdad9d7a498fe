//! What a VM lives through: restarts, changes, suspension, and the death of everything around it.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, it does not panic"
)]

mod cells;
mod changes;
mod crashes;
mod crowds;
mod files;
mod operators;
mod placement;
mod pressure;
mod restarts;

use agentvm_tests::Result;
use agentvm_tests::cluster::Cluster;
use agentvm_tests::node::Node;
use agentvm_tests::vm::{Namespace, text};
use anyhow::Context;
use serde_json::{Value, json};

/// Adds to a spec that it runs on this reserved node alone.
fn only_on(node: &Node, mut spec: Value) -> Value {
    spec["nodeSelector"] = json!({"kubernetes.io/hostname": node.name});
    spec["tolerations"] = json!([{"key": "tests", "operator": "Exists"}]);
    spec["terminationGracePeriod"] = json!("2s");
    spec
}

fn node_of<'a>(cluster: &'a Cluster, vm: &Value) -> Result<&'a Node> {
    cluster.node(&text(vm, "/status/assignment/nodeName"))
}

/// A VM as its cell holds it.
fn held(node: &Node, namespace: &Namespace<'_>, uid: &str) -> Result<Value> {
    let vms = node.vms(&namespace.name)?;
    vms.into_iter()
        .find(|vm| text(vm, "/uid") == uid)
        .with_context(|| format!("no VM {uid} in its cell"))
}
