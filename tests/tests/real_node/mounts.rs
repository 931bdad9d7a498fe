//! Files that VMs mount: ConfigMaps, and Secrets where policy and namespace have opted in.

use std::mem::ManuallyDrop;

use agentvm_tests::Result;
use agentvm_tests::real_node::stage::Stage;
use agentvm_tests::vm::{Namespace, condition, text};
use agentvm_tests::wait::{self, Look};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The namespace that the release's value `secrets.namespaces` names. It stays as long as the
/// release does: a role is bound in it.
const OPTED_IN: &str = "opted-in";

/// Makes the namespace that opts in, before the release is installed.
pub(crate) fn opt_in(stage: &Stage) -> Result<String> {
    let _stays = ManuallyDrop::new(stage.namespace(OPTED_IN)?);
    Ok(format!("secrets.namespaces={{{OPTED_IN}}}"))
}

pub(crate) fn config_maps_and_secrets_are_mounted_where_that_is_allowed(
    stage: &Stage,
) -> Result<()> {
    let plane = &stage.node.plane;
    let opted = ManuallyDrop::new(Namespace {
        name: OPTED_IN.to_owned(),
        plane,
    });
    let shut = stage.namespace("shut")?;
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "files"},
        "spec": {
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [OPTED_IN, "shut"]},
            ]},
            "capabilities": {"secretMounts": {}},
        },
    });
    plane.kubectl.apply(&policy.to_string())?.done()?;
    opted.config_map("settings", &json!({"text": "one\n"}))?;
    let of_secret = json!([{"path": "/app", "secret": {"secretName": "key"}}]);
    for namespace in [&opted.name, &shut.name] {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"},
            "data": {"text": STANDARD.encode("quill\n")},
        });
        let path = format!("/api/v1/namespaces/{namespace}/secrets");
        plane.api.create(&path, &secret)?;
    }
    let of_map = json!([{"path": "/app", "configMap": {"name": "settings"}}]);
    opted.run_probe("of-map", "watch", &json!({"mounts": of_map}))?;
    opted.run_probe("of-secret", "watch", &json!({"mounts": of_secret}))?;
    shut.run_probe("of-secret", "watch", &json!({"mounts": of_secret}))?;

    prints(stage, "of-map", &["one"])?;
    prints(stage, "of-secret", &["quill"])?;
    let refused = shut.wait_for("of-secret", "be told of the Secret", |vm| {
        condition(vm, "ImageReady").is_some_and(|found| found.reason == "SecretForbidden")
    })?;
    let said = condition(&refused, "ImageReady")
        .context("ImageReady")?
        .message;
    let command = "kubectl create rolebinding";
    ensure!(said.contains(command) && said.contains("shut"), "{said}");
    wait::until("the metrics of files", || {
        let metrics = stage.metrics()?;
        let held = metrics
            .lines()
            .filter(|line| line.starts_with("agentvm_vm_storage_bytes{"))
            .find(|line| line.contains("vm=\"of-map\""))
            .and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        Ok(wait::yes_if(held.is_some_and(|held| held > 0), || {
            format!("{held:?}")
        }))
    })?;
    // What comes of it is seen some steps later: it takes the agent up to 30 s.
    let path = format!("/api/v1/namespaces/{OPTED_IN}/configmaps/settings");
    let change = json!({"data": {"text": "two\n"}});
    plane.api.patch(&path, &change).map(|_| ())
}

pub(crate) fn a_changed_config_map_has_reached_its_guest(stage: &Stage) -> Result<()> {
    prints(stage, "of-map", &["one", "two"])?;
    for vm in ["of-map", "of-secret"] {
        let flags = ["--namespace", OPTED_IN, vm];
        stage.kubectl(&[["delete", "agentvm"].as_slice(), &flags].concat())?;
    }
    stage
        .kubectl(&["delete", "agentpolicy", "files"])
        .map(|_| ())
}

/// Waits until a VM has printed exactly these lines.
fn prints(stage: &Stage, vm: &str, wanted: &[&str]) -> Result<()> {
    wait::until(&format!("{vm} to print {wanted:?}"), || {
        let log = stage.cells_log()?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|line| text(line, "/vm") == vm);
        let said: Vec<String> = lines.map(|line| text(&line, "/text")).collect();
        Ok(if said == wanted {
            Look::Yes(())
        } else {
            Look::NotYet(format!("{said:?}"))
        })
    })
}
