//! A release comes, is tried, and goes.

use std::time::{Duration, Instant};

use agentvm_tests::Result;
use agentvm_tests::real_node::NODE;
use agentvm_tests::real_node::stage::{SYSTEM, Stage};
use agentvm_tests::vm::text;
use agentvm_tests::wait;
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

/// What the issue promises from `helm install` to the first VM's output.
const FIRST_OUTPUT_WITHIN: Duration = Duration::from_mins(1);

pub(crate) fn helm_installs_a_release_that_is_ready(stage: &Stage) -> Result<()> {
    let opted_in = super::mounts::opt_in(stage)?;
    let started = Instant::now();
    // The one node will be tainted, and the operator has nowhere else to go.
    let stays = "operator.tolerations[0].operator=Exists";
    stage.install(&["--set", stays, "--set", &opted_in])?;
    let guests = stage.namespace("first")?;
    guests.run_probe("first", "hello", &json!({}))?;
    guests.wait_phase("first", "Complete")?;
    let took = started.elapsed();
    ensure!(
        took < FIRST_OUTPUT_WITHIN,
        "helm install to the first output took {took:?}"
    );
    wait::until("the guest's line in the log", || {
        let log = stage.cells_log()?;
        Ok(wait::yes_if(log.contains("hello from a probe"), || log))
    })?;
    Ok(())
}

pub(crate) fn the_jail_is_full_inside_a_restricted_pod(stage: &Stage) -> Result<()> {
    stage.wait_until_ready()?;
    let node = stage.object(&format!("/apis/agentvm.dev/v1alpha1/agentnodes/{NODE}"))?;
    assert_eq!(text(&node, "/status/jail/level"), "Full", "{node}");
    let pod = stage.node_pod()?;
    let containers = pod.pointer("/spec/containers").and_then(Value::as_array);
    let cells = containers
        .into_iter()
        .flatten()
        .find(|container| text(container, "/name") == "cells");
    let cells = cells.context("the container cells")?;
    assert_eq!(
        cells
            .pointer("/volumeMounts")
            .map(|mounts| mounts.to_string().contains("serviceaccount")),
        Some(false)
    );
    Ok(())
}

pub(crate) fn helm_test_passes(stage: &Stage) -> Result<()> {
    let said = stage.helm(&["test", "agentvm", "--timeout", "90s"])?;
    ensure!(
        said.contains("Succeeded") && !said.contains("Failed"),
        "{said}"
    );
    Ok(())
}

pub(crate) fn an_uninstalled_release_leaves_only_what_the_docs_say(stage: &Stage) -> Result<()> {
    stage.helm(&["uninstall", "agentvm", "--wait", "--timeout", "90s"])?;
    wait::until("the pods to be gone", || {
        let pods = stage.objects(&format!("/api/v1/namespaces/{SYSTEM}/pods"))?;
        Ok(wait::yes_if(pods.is_empty(), || {
            format!("{} pods", pods.len())
        }))
    })?;
    let left = |kind: &str| -> Result<Vec<String>> {
        let names = stage.kubectl(&["get", kind, "--all-namespaces", "--output=name"])?;
        // An example binds a role of the release by itself, and keeps its binding.
        let ours = names
            .lines()
            .filter(|name| name.contains("agentvm") && !name.ends_with("/agentvm-secrets"));
        Ok(ours.map(str::to_owned).collect())
    };
    for kind in [
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
        "serviceaccounts",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "networkpolicies",
        "priorityclasses",
        "deployments",
        "daemonsets",
        "poddisruptionbudgets",
        "configmaps",
        "jobs",
    ] {
        assert_eq!(left(kind)?, [""; 0], "{kind} are left");
    }
    assert_eq!(
        left("crds")?,
        cluster_kinds().map(|kind| format!(
            "customresourcedefinition.apiextensions.k8s.io/{kind}.agentvm.dev"
        )),
        "the CRDs stay, and with them every AgentVM"
    );
    ensure!(
        left("agentvms")?.is_empty()
            || !stage
                .kubectl(&["get", "agentvms", "-A", "-o", "name"])?
                .is_empty()
    );
    Ok(())
}

fn cluster_kinds() -> [&'static str; 3] {
    ["agentnodes", "agentpolicies", "agentvms"]
}
