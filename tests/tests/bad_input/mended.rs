//! What was wrong is put right, and the VM runs.

use agentvm_tests::Result;
use agentvm_tests::cluster;
use agentvm_tests::vm::{Namespace, condition, number, phase, text};
use anyhow::Context;
use serde_json::json;

use super::cap_memory;

#[test]
fn a_config_map_that_comes_late_is_found() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "bad-late")?;
    let module = namespace.module("hello")?;
    let env =
        json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "a"}}}]);
    namespace.create_vm("patient", &json!({"module": module, "env": env}))?;
    namespace.wait_for("patient", "ImageReady is ConfigMapNotFound", |vm| {
        condition(vm, "ImageReady").is_some_and(|found| found.reason == "ConfigMapNotFound")
    })?;
    namespace.config_map("late", &json!({"a": "1"}))?;
    let vm = namespace.wait_phase("patient", "Complete")?;
    assert_eq!(
        number(&vm, "/status/restarts"),
        0,
        "waiting for a ConfigMap is no restart"
    );
    Ok(())
}

#[test]
fn a_secret_is_mounted_once_policy_and_namespace_have_opted_in() -> Result<()> {
    let cluster = cluster::shared()?;
    let kubectl = &cluster.plane.kubectl;
    let namespace = Namespace::create(cluster.plane, "bad-secret")?;
    let mounts = json!([{"path": "/key", "secret": {"secretName": "key"}}]);
    namespace.run_probe("keeper", "hello", &json!({"mounts": mounts}))?;
    let refused = namespace.wait_phase("keeper", "Failed")?;
    let said = condition(&refused, "Accepted").context("Accepted")?.message;
    assert!(
        said.contains("spec.mounts[0].secret") && said.contains("no AgentPolicy"),
        "{said}"
    );
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "secrets"},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
            "capabilities": {"secretMounts": {}},
        },
    });
    kubectl.apply(&policy.to_string())?.done()?;
    let shut = namespace.wait_for("keeper", "ImageReady is SecretForbidden", |vm| {
        condition(vm, "ImageReady").is_some_and(|found| found.reason == "SecretForbidden")
    })?;
    assert_eq!(phase(&shut), "BackOff");
    let said = condition(&shut, "ImageReady")
        .context("ImageReady")?
        .message;
    let command = said
        .split_once("kubectl ")
        .map(|(_, command)| {
            command
                .split(&['`', ',', ';'][..])
                .next()
                .unwrap_or(command)
        })
        .with_context(|| format!("no command in {said:?}"))?;
    let command: Vec<&str> = command.split_whitespace().collect();
    kubectl.run(&command)?.done()?;
    namespace.wait_for("keeper", "ImageReady is SecretNotFound", |vm| {
        condition(vm, "ImageReady").is_some_and(|found| found.reason == "SecretNotFound")
    })?;
    let secret = [
        "create",
        "secret",
        "generic",
        "key",
        "--from-literal=a=quill",
    ];
    kubectl
        .run(&[&["-n", namespace.name.as_str()][..], &secret].concat())?
        .done()?;
    let vm = namespace.wait_phase("keeper", "Complete")?;
    assert_eq!(number(&vm, "/status/restarts"), 0, "{vm}");
    Ok(())
}

#[test]
fn a_refused_vm_runs_once_the_policy_allows_it() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "bad-lifted")?;
    cap_memory(cluster, "lifted", &namespace, "32Mi")?;
    namespace.run_probe("eager", "hello", &json!({"limits": {"memory": "64Mi"}}))?;
    let refused = namespace.wait_phase("eager", "Failed")?;
    assert_eq!(
        text(&refused, "/status/assignment/nodeName"),
        "",
        "{refused}"
    );
    cap_memory(cluster, "lifted", &namespace, "64Mi")?;
    namespace.wait_phase("eager", "Complete").map(|_| ())
}
