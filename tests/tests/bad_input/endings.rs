//! VMs that the API server takes and that can't run: each ends with its reason.

use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::vm::{Namespace, condition, number, phase, text};
use agentvm_tests::{Result, guests, http};
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use super::cap_memory;

/// How a VM that the API server takes must end up.
struct Ending {
    name: &'static str,
    spec: Value,
    phase: &'static str,
    condition: &'static str,
    reason: &'static str,
    /// Whether it ran, so that `status.exit` says the same.
    ran: bool,
    /// Words of the condition's message.
    says: String,
}

/// Name, spec, phase, condition (False, but for `Failed`), reason, words of its message.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// `PROBE` after `module:` stands for a ConfigMap with that probe; `REGISTRY` answers, `NOBODY`
/// does not. `LONG` is 200 letters of two bytes each, which the API server counts as 200.
#[rustfmt::skip]
const ENDINGS: [Case; 27] = [
    ("missing-image", "image: REGISTRY/no/such:1", "BackOff", "ImageReady", "ImagePullFailed", "REGISTRY/no/such:1"),
    ("no-registry", "image: NOBODY/no/registry:1", "BackOff", "ImageReady", "ImagePullFailed", "NOBODY/no/registry:1"),
    ("missing-map", "module: {configMap: {name: ghost, key: a}}", "BackOff", "ImageReady", "ConfigMapNotFound", "ghost"),
    ("missing-key", "module: {configMap: {name: hello, key: ghost}}", "BackOff", "ImageReady", "KeyNotFound", "hello ghost"),
    ("missing-variable", "{module: hello, env: [{name: A, valueFrom: {configMapKeyRef: {name: ghost, key: a}}}]}",
     "BackOff", "ImageReady", "ConfigMapNotFound", "ghost"),
    ("missing-variable-key", "{module: hello, env: [{name: A, valueFrom: {configMapKeyRef: {name: hello, key: ghost}}}]}",
     "BackOff", "ImageReady", "KeyNotFound", "hello ghost"),
    ("text", "module: text", "Failed", "ImageReady", "InvalidModule", "module"),
    ("empty", "module: empty", "Failed", "ImageReady", "InvalidModule", "module"),
    ("half", "module: half", "Failed", "ImageReady", "InvalidModule", "module"),
    ("foreign", "module: import_foreign", "Failed", "ImageReady", "MissingImports", "env open_the_vault"),
    ("no-start", "module: no_start", "Failed", "ImageReady", "InvalidModule", "_start"),
    ("too-big", "{module: hello, limits: {memory: 256Mi}}", "Failed", "Accepted", "PolicyRefused",
     "small-vms spec.limits.memory 256Mi 128Mi"),
    ("fine-clock", "{module: hello, capabilities: {clock: {resolution: 1us}}}", "Failed", "Accepted", "PolicyRefused",
     "small-vms spec.capabilities.clock"),
    ("secret", "{module: hello, mounts: [{path: /key, secret: {secretName: key}}]}", "Failed", "Accepted", "PolicyRefused",
     "small-vms spec.mounts[0].secret spec.capabilities.secretMounts"),
    ("file-below-file",
     "{module: hello, mounts: [{path: /a, configMap: {name: a, items: [{key: a, path: a}, {key: b, path: a/b}]}}]}",
     "Failed", "Accepted", "InvalidSpec", "spec.mounts[0].configMap.items[1].path a/b"),
    ("long-name", "{module: hello, mounts: [{path: /LONG, emptyDir: {}}]}", "Failed", "Accepted", "InvalidSpec",
     "spec.mounts[0].path 255"),
    ("f32-rule-unreadable", "{module: hello, capabilities: {network: {egress: [{host: localhost, methods: [GET], paths: ['*']}]}}}",
     "Failed", "Accepted", "InvalidSpec", "spec.capabilities.network.egress[0].host localhost label"),
    ("f32-dot-segment",
     "{module: hello, capabilities: {network: {egress: [{host: api.example.com, methods: [GET], paths: [/a, /v1/../b]}]}}}",
     "Failed", "Accepted", "InvalidSpec", "spec.capabilities.network.egress[0].paths[1]"),
    ("f32-rule-refused", "{module: hello, capabilities: {network: {egress: [{host: '*', methods: ['*'], paths: ['*']}]}}}",
     "Failed", "Accepted", "PolicyRefused", "small-vms spec.capabilities.network.egress[0] is not set"),
    ("missing-files", "{module: hello, mounts: [{path: /a, configMap: {name: ghost}}]}",
     "BackOff", "ImageReady", "ConfigMapNotFound", "ghost"),
    ("missing-file", "{module: hello, mounts: [{path: /a, configMap: {name: hello, items: [{key: ghost, path: a}]}}]}",
     "BackOff", "ImageReady", "KeyNotFound", "hello ghost"),
    ("trap", "module: trap", "Failed", "Failed", "Trap", "unreachable"),
    ("fuel", "{module: spin, limits: {fuel: 10M, cpu: '1'}}", "Failed", "Failed", "OutOfFuel", "spec.limits.fuel"),
    ("memory", "{module: grow, limits: {memory: 16Mi}}", "Failed", "Failed", "MemoryLimit", "spec.limits.memory"),
    ("time", "{module: spin, limits: {timeout: 1s, cpu: 50m}}", "Failed", "Failed", "DeadlineExceeded", "spec.limits.timeout"),
    ("sleep", "{module: deaf, limits: {timeout: 1s}}", "Failed", "Failed", "DeadlineExceeded", "spec.limits.timeout"),
    ("three", "module: exit3", "Failed", "Failed", "Error", "3"),
];

#[test]
fn each_bad_vm_ends_with_its_reason_and_its_neighbour_lives_on() -> Result<()> {
    let cluster = cluster::shared()?;
    let namespace = Namespace::create(cluster.plane, "bad-ends")?;
    let neighbour = namespace.run_probe("neighbour", "stay", &json!({}))?;
    let before = namespace.wait_phase("neighbour", "Running")?;
    cap_memory(cluster, "small-vms", &namespace, "128Mi")?;
    let endings = endings(cluster, &namespace)?;
    for ending in &endings {
        namespace.create_vm(ending.name, &ending.spec)?;
    }
    let mut faults = Vec::new();
    for ending in &endings {
        if let Err(error) = check(&namespace, ending) {
            faults.push(format!("{}: {error:#}", ending.name));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));

    let after = namespace.vm("neighbour")?;
    assert_eq!(text(&after, "/metadata/uid"), neighbour);
    assert_eq!(phase(&after), "Running");
    assert_eq!(number(&after, "/status/restarts"), 0);
    assert_eq!(
        text(&after, "/status/startedAt"),
        text(&before, "/status/startedAt")
    );
    for node in &cluster.nodes {
        let metrics = node.metrics()?;
        let panics: Vec<&str> = metrics
            .lines()
            .filter(|line| line.starts_with("agentvm_host_panics_total"))
            .collect();
        assert!(
            !panics.is_empty(),
            "no agentvm_host_panics_total in {metrics}"
        );
        assert!(panics.iter().all(|line| line.ends_with(" 0")), "{panics:?}");
    }
    for ending in &endings {
        let writes = cluster
            .plane
            .audit
            .status_writes(&namespace.name, ending.name)?;
        assert!(
            writes.len() < 12,
            "{}: {} writes are a storm: {writes:#?}",
            ending.name,
            writes.len()
        );
    }
    Ok(())
}

fn endings(cluster: &Cluster, namespace: &Namespace<'_>) -> Result<Vec<Ending>> {
    let registry = cluster.registry.address.to_string();
    let nobody = http::loopback(http::free_port()?).to_string();
    let hello = guests::probe("hello")?;
    namespace.module_of("text", b"#!/bin/sh\necho hello\n")?;
    namespace.module_of("empty", b"")?;
    namespace.module_of(
        "half",
        hello.get(..hello.len() / 2).context("a first half")?,
    )?;
    let fill = |text: &str| {
        text.replace("REGISTRY", &registry)
            .replace("NOBODY", &nobody)
            .replace("LONG", &"\u{e9}".repeat(200))
    };
    let ending = |(name, spec, phase, condition, reason, says): Case| {
        let mut spec: Value = serde_yaml::from_str(&fill(spec)).context(spec)?;
        if let Some(probe) = spec["module"].as_str() {
            spec["module"] = match probe {
                "text" | "empty" | "half" => {
                    json!({"configMap": {"name": probe, "key": "main.wasm"}})
                }
                probe => namespace.module(probe)?,
            };
        }
        let ran = condition == "Failed";
        anyhow::Ok(Ending {
            name,
            spec,
            phase,
            condition,
            reason,
            ran,
            says: fill(says),
        })
    };
    ENDINGS.into_iter().map(ending).collect()
}

fn check(namespace: &Namespace<'_>, ending: &Ending) -> Result<()> {
    let Ending {
        name,
        spec: _,
        phase: wanted,
        condition: kind,
        reason,
        ran,
        says,
    } = ending;
    let status = if *kind == "Failed" { "True" } else { "False" };
    let vm = namespace.wait_for(
        name,
        &format!("{kind}={status}/{reason} and phase {wanted}"),
        |vm| {
            let there = condition(vm, kind)
                .is_some_and(|found| found.status == status && found.reason == *reason);
            there && phase(vm) == *wanted
        },
    )?;
    let message = condition(&vm, kind).context("the condition")?.message;
    if let Some(word) = says.split(' ').find(|word| !message.contains(word)) {
        bail!("no word on {word:?} in {message:?}");
    }
    ensure!(
        !message.contains('\n') && message.len() < 400,
        "that is no sentence: {message:?}"
    );
    let exit = &vm["status"]["exit"];
    ensure!(
        text(&vm, "/status/exit/reason") == if *ran { reason } else { "" },
        "exit is {exit}"
    );
    ensure!(*reason != "Error" || exit["code"] == 3, "exit is {exit}");
    let stalled = condition(&vm, "Stalled").is_some_and(|found| found.status == "True");
    ensure!(
        stalled == (*wanted == "Failed"),
        "Stalled is {stalled} in phase {wanted}"
    );
    ensure!(number(&vm, "/status/restarts") == 0, "it was restarted");
    Ok(())
}
