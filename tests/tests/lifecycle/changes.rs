//! What happens when a manifest changes: nothing, another run, or a refusal.

use agentvm_tests::node::Node;
use agentvm_tests::vm::{Namespace, condition, number, phase, text};
use agentvm_tests::{Result, cluster, wait};
use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{held, node_of};

#[test]
fn a_suspended_vm_is_gone_from_its_cell_and_runs_again_when_resumed() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-suspend")?;
    let uid = namespace.run_probe("sleeper", "stay", &json!({}))?;
    let first = namespace.wait_phase("sleeper", "Running")?;
    namespace.change("sleeper", &json!({"suspend": true}))?;
    let suspended = namespace.wait_phase("sleeper", "Suspended")?;
    assert_eq!(
        condition(&suspended, "Ready").context("Ready")?.status,
        "True",
        "as its spec asks: {suspended}"
    );
    node_of(cluster, &suspended)?.wait_until_gone(&namespace.name, &uid)?;
    namespace.change("sleeper", &json!({"suspend": false}))?;
    let second = namespace.wait_phase("sleeper", "Running")?;
    assert_eq!(
        number(&second, "/status/restarts"),
        0,
        "resuming is no restart: {second}"
    );
    assert!(text(&second, "/status/startedAt") >= text(&first, "/status/startedAt"));
    Ok(())
}

#[test]
fn a_vm_created_suspended_does_not_run() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-asleep")?;
    namespace.run_probe("asleep", "hello", &json!({"suspend": true}))?;
    let vm = namespace.wait_phase("asleep", "Suspended")?;
    assert_eq!(text(&vm, "/status/startedAt"), "", "{vm}");
    namespace.change("asleep", &json!({"suspend": false}))?;
    namespace.wait_phase("asleep", "Complete").map(|_| ())
}

#[test]
fn cpu_and_log_rate_change_while_the_guest_runs_on() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-live")?;
    let uid = namespace.run_probe(
        "spinner",
        "spin",
        &json!({"limits": {"cpu": "20m", "memory": "1Mi"}}),
    )?;
    let before = namespace.wait_phase("spinner", "Running")?;
    namespace.change(
        "spinner",
        &json!({"limits": {"cpu": "40m", "logRate": "2Ki"}}),
    )?;
    let node = node_of(cluster, &before)?;
    wait::until("the cell to hold the new limits", || {
        let vm = held(node, &namespace, &uid)?;
        let limits = vm
            .pointer("/spec/grants/limits")
            .cloned()
            .unwrap_or_default();
        let new = limits["cpuMillicores"] == 40 && limits["logRateBytesPerSecond"] == 2048;
        Ok(wait::yes_if(new, || vm.to_string()))
    })?;
    let after = namespace.wait_for("spinner", "the new limits are reported", |vm| {
        text(vm, "/status/effective/limits/cpu") == "40m"
            && number(vm, "/status/observedGeneration") == number(vm, "/metadata/generation")
    })?;
    for field in ["/status/startedAt", "/status/phase"] {
        assert_eq!(text(&after, field), text(&before, field), "{field}");
    }
    assert_eq!(number(&after, "/status/restarts"), 0);
    Ok(())
}

#[test]
fn new_arguments_take_another_run_that_counts_as_no_restart() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-args")?;
    let uid = namespace.run_probe(
        "speaker",
        "echo",
        &json!({"args": ["old"], "env": [{"name": "A", "value": "b"}]}),
    )?;
    let before = namespace.wait_phase("speaker", "Running")?;
    let node = node_of(cluster, &before)?;
    wait_printed(node, &uid, &["old", "A=b"])?;
    namespace.change("speaker", &json!({"args": ["new"]}))?;
    wait_printed(node, &uid, &["old", "A=b", "new", "A=b"])?;
    let after = namespace.wait_for("speaker", "the new generation runs", |vm| {
        phase(vm) == "Running"
            && number(vm, "/status/observedGeneration") == number(vm, "/metadata/generation")
    })?;
    assert_eq!(number(&after, "/status/restarts"), 0, "{after}");
    Ok(())
}

#[test]
fn e18_of_a_hundred_changes_in_a_row_the_last_one_wins_and_one_run_is_left() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "li-race")?;
    let uid = namespace.run_probe("turncoat", "stay", &json!({"args": ["first"]}))?;
    let before = namespace.wait_phase("turncoat", "Running")?;
    let node = node_of(cluster, &before)?;
    for number in 0..100 {
        let args = json!({"args": [format!("change-{number}")]});
        namespace.change("turncoat", &args)?;
        ensure!(node.vms(&namespace.name)?.len() <= 1, "two runs at once");
    }
    let after = namespace.wait_for("turncoat", "the last change is followed", |vm| {
        phase(vm) == "Running"
            && number(vm, "/status/observedGeneration") == number(vm, "/metadata/generation")
    })?;
    assert_eq!(number(&after, "/status/restarts"), 0, "{after}");
    let vm = held(node, &namespace, &uid)?;
    assert_eq!(vm["spec"]["args"][1], "change-99", "{vm}");
    assert_eq!(node.vms(&namespace.name)?.len(), 1);
    namespace.delete("turncoat")?;
    node.wait_until_gone(&namespace.name, &uid)
}

#[test]
fn what_a_vm_is_made_of_never_changes() -> Result<()> {
    let plane = cluster::installed()?;
    let namespace = Namespace::create(plane, "li-fixed")?;
    namespace.run_probe("fixed", "hello", &json!({"suspend": true}))?;
    for (field, change) in [
        (
            "spec.module",
            json!({"module": {"configMap": {"name": "another", "key": "main.wasm"}}}),
        ),
        ("spec.restartPolicy", json!({"restartPolicy": "Always"})),
        (
            "spec.image",
            json!({"module": null, "image": "registry.test/another:1"}),
        ),
    ] {
        let patch = json!({"spec": change}).to_string();
        let args = [
            "-n",
            &namespace.name,
            "patch",
            "avm/fixed",
            "--type=merge",
            "-p",
            &patch,
        ];
        let said = plane.kubectl.run(&args)?.refused()?;
        let name = field.trim_start_matches("spec.");
        ensure!(
            said.contains(name) && said.contains("immutable"),
            "{field}: {said}"
        );
    }
    Ok(())
}

/// Waits until a VM has printed exactly these lines, after `argv[0]`.
fn wait_printed(node: &Node, uid: &str, wanted: &[&str]) -> Result<()> {
    wait::until(&format!("output {wanted:?}"), || {
        let stdout = node.warden.stdout()?;
        let lines = stdout
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let said: Vec<String> = lines
            .filter(|line| text(line, "/uid") == uid)
            .map(|line| text(&line, "/text"))
            .collect();
        let said: Vec<&str> = said
            .iter()
            .map(String::as_str)
            .filter(|line| wanted.contains(line))
            .collect();
        Ok(wait::yes_if(said == wanted, || format!("{said:?}")))
    })
}
