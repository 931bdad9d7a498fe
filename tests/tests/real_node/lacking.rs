//! Node pods on nodes that lack something: what the kubelet shows of them.

use std::fs;
use std::path::Path;

use agentvm_tests::Result;
use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::text;
use agentvm_tests::wait::{self, Look};
use anyhow::Context as _;
use serde_json::{Value, json};

/// Each runs the container `cells` of the release as it is, but for one thing.
pub(crate) fn a_node_that_lacks_something_says_so_in_one_sentence(stage: &Stage) -> Result<()> {
    let namespace = stage.namespace("lacking")?;
    let account = "/api/v1/namespaces/lacking/serviceaccounts/default";
    wait::until("the namespace's account", || {
        let there = stage.node.plane.api.get(account)?.is_some();
        Ok(wait::yes_if(there, || "it is not there".to_owned()))
    })?;
    let folder = |name: &str| stage.node.dir().join(name);
    let (foreign, missing) = (folder("state-of-root"), folder("state-that-is-missing"));
    fs::create_dir(&foreign)?;
    let create = |name: &str, change: &dyn Fn(&mut Value) -> Result<()>| -> Result<()> {
        let mut pod = cells_pod(stage, name)?;
        change(&mut pod)?;
        let path = "/api/v1/namespaces/lacking/pods";
        namespace.plane.api.create(path, &pod).map(|_| ())
    };
    create("small", &|pod| limit_memory(pod, "24Mi"))?;
    create("foreign", &|pod| keep_state_in(pod, &foreign))?;
    create("missing", &|pod| keep_state_in(pod, &missing))?;

    let foreign = "--cache-dir /var/lib/agentvm/code can't be written by user 65532";
    for (pod, words) in [
        ("small", "the container's memory limit is 24 MiB"),
        ("foreign", foreign),
    ] {
        let path = format!("/api/v1/namespaces/lacking/pods/{pod}");
        let said = wait::until("the container's last words", || {
            let pod = stage.object(&path)?;
            let path = "/status/containerStatuses/0/state";
            Ok(match pod.pointer(&format!("{path}/terminated")) {
                Some(terminated) => Look::Yes(text(terminated, "/message")),
                None => Look::NotYet(format!("{:?}", pod.pointer(path))),
            })
        })?;
        let last = said.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("Error: ") && last.contains(words),
            "{pod}: {said:?}"
        );
        let log = stage.node.plane.api.text(&format!("{path}/log"))?;
        assert_eq!(
            log.lines().last(),
            Some(last),
            "the log ends with it as well"
        );
    }
    wait::until("an event that names the missing directory", || {
        let events = namespace.events("missing")?;
        let path = missing.display().to_string();
        let told = events.iter().any(|event| event.contains(&path));
        Ok(wait::yes_if(told, || format!("{events:?}")))
    })
}

/// A Pod of the container `cells` alone.
fn cells_pod(stage: &Stage, name: &str) -> Result<Value> {
    let live = stage.node_pod()?;
    let part = |pointer: &str| live.pointer(pointer).cloned().unwrap_or_default();
    let containers = part("/spec/containers");
    let mut cells = containers
        .as_array()
        .and_then(|all| all.iter().find(|one| text(one, "/name") == "cells"))
        .cloned()
        .context("the container cells")?;
    if let Some(cells) = cells.as_object_mut() {
        cells.remove("resources");
    }
    let folder = |name: &str| json!({"name": name, "emptyDir": {}});
    Ok(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false,
            "securityContext": part("/spec/securityContext"),
            "containers": [cells],
            "volumes": [folder("run"), folder("state"), folder("logs"), folder("gateway")],
        },
    }))
}

fn limit_memory(pod: &mut Value, limit: &str) -> Result<()> {
    let container = pod
        .pointer_mut("/spec/containers/0")
        .and_then(Value::as_object_mut);
    let resources = json!({"limits": {"memory": limit}});
    container
        .context("a container")?
        .insert("resources".to_owned(), resources);
    Ok(())
}

fn keep_state_in(pod: &mut Value, folder: &Path) -> Result<()> {
    let volume = pod.pointer_mut("/spec/volumes/1").context("the state")?;
    *volume = json!({"name": "state", "hostPath": {"path": folder, "type": "Directory"}});
    Ok(())
}
