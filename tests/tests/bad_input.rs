//! Bad input, all the way through the API server: each kind of it ends in a stable reason and one
//! clear sentence, and nobody else notices.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, it does not panic"
)]

use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::vm::{Namespace, condition, manifest, number, phase, text};
use agentvm_tests::{Result, guests, http};
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

/// What is wrong, the part of the spec that is, and the words that the refusal must use.
type Row = (&'static str, &'static str, &'static str);

/// Added to a spec that has a module.
#[rustfmt::skip]
const BAD_FIELDS: [Row; 57] = [
    ("unknown field", "imgae: x", "spec.imgae"),
    ("unknown capability", "capabilities: {process: {}}", "spec.capabilities.process"),
    ("unknown limit", "limits: {disk: 1Gi}", "spec.limits.disk"),
    ("Secret", "env: [{name: A, valueFrom: {secretKeyRef: {name: a, key: b}}}]", "secretKeyRef"),
    ("args as a string", "args: one", "spec.args"),
    ("suspend as a string", "suspend: 'yes'", "spec.suspend"),
    ("memory as a list", "limits: {memory: [1]}", "spec.limits.memory"),
    ("timeout as a number", "limits: {timeout: 30}", "spec.limits.timeout"),
    ("no restart policy", "restartPolicy: Sometimes", "spec.restartPolicy OnFailure"),
    ("negative memory", "limits: {memory: -64Mi}", "spec.limits.memory"),
    ("no memory", "limits: {memory: '0'}", "spec.limits.memory"),
    ("absurd memory", "limits: {memory: 8Ei}", "spec.limits.memory"),
    ("memory in words", "limits: {memory: 64 MB}", "spec.limits.memory"),
    ("negative CPU", "limits: {cpu: '-1'}", "spec.limits.cpu"),
    ("absurd CPU", "limits: {cpu: '4000'}", "spec.limits.cpu"),
    ("negative fuel", "limits: {fuel: -1}", "spec.limits.fuel"),
    ("absurd fuel", "limits: {fuel: 1E}", "spec.limits.fuel"),
    ("timeout in words", "limits: {timeout: ten minutes}", "spec.limits.timeout"),
    ("negative timeout", "limits: {timeout: -5s}", "spec.limits.timeout"),
    ("timeout of a year", "limits: {timeout: 8760h}", "spec.limits.timeout"),
    ("absurd log rate", "limits: {logRate: 1Ti}", "spec.limits.logRate"),
    ("absurd log total", "limits: {logTotal: 2Ti}", "spec.limits.logTotal"),
    ("grace in words", "terminationGracePeriod: long", "spec.terminationGracePeriod"),
    ("grace of a day", "terminationGracePeriod: 24h", "spec.terminationGracePeriod"),
    ("negative time to live", "ttlAfterFinished: -1h", "spec.ttlAfterFinished"),
    ("both image and module", "image: registry.test/a:1", "image module"),
    ("variable with two values",
     "env: [{name: A, value: b, valueFrom: {configMapKeyRef: {name: a, key: b}}}]", "spec.env[0] value"),
    ("variable without value", "env: [{name: A}]", "spec.env[0] value"),
    ("variable without name", "env: [{name: '', value: b}]", "spec.env[0]"),
    ("variable named with =", "env: [{name: A=B, value: c}]", "spec.env[0]"),
    ("the same variable twice", "env: [{name: A, value: b}, {name: A, value: c}]", "spec.env[1]"),
    ("variable without a key", "env: [{name: A, valueFrom: {configMapKeyRef: {name: a}}}]", "spec.env[0] key"),
    ("a clock of minutes", "capabilities: {clock: {resolution: 1m}}", "spec.capabilities.clock"),
    ("a clock in words", "capabilities: {clock: {resolution: fine}}", "spec.capabilities.clock"),
    ("toleration as a string", "tolerations: gpu", "spec.tolerations"),
    ("absurd storage", "limits: {storage: 8Ei}", "spec.limits.storage"),
    ("no storage", "limits: {storage: 0}", "spec.limits.storage"),
    ("inodes in words", "limits: {inodes: many}", "spec.limits.inodes"),
    ("absurd open files", "limits: {openFiles: 1M}", "spec.limits.openFiles"),
    ("a directory of the host", "mounts: [{path: /host, hostPath: {path: /}}]", "spec.mounts[0].hostPath"),
    ("mounts as a string", "mounts: /work", "spec.mounts"),
    ("a mount of nothing", "mounts: [{path: /work}]", "spec.mounts[0] emptyDir configMap secret"),
    ("a mount of two things", "mounts: [{path: /a, emptyDir: {}, configMap: {name: a}}]", "spec.mounts[0] exactly"),
    ("a mount nowhere", "mounts: [{emptyDir: {}}]", "spec.mounts[0].path"),
    ("a relative mount", "mounts: [{path: work, emptyDir: {}}]", "spec.mounts[0].path absolute"),
    ("a mount that climbs", "mounts: [{path: /a/../../etc, emptyDir: {}}]", "spec.mounts[0].path absolute"),
    ("a mount with a newline", "mounts: [{path: \"/a\\nb\", emptyDir: {}}]", "spec.mounts[0].path control"),
    ("two mounts at one path", "mounts: [{path: /a, emptyDir: {}}, {path: /a, emptyDir: {}}]", "spec.mounts[1]"),
    ("a ConfigMap to write to", "mounts: [{path: /a, readOnly: false, configMap: {name: a}}]", "spec.mounts[0] read-only"),
    ("an absurd emptyDir", "mounts: [{path: /a, emptyDir: {sizeLimit: 1Ti}}]", "spec.mounts[0].emptyDir.sizeLimit"),
    ("an item that climbs",
     "mounts: [{path: /a, secret: {secretName: a, items: [{key: k, path: ../../etc/passwd}]}}]", "items[0].path relative"),
    ("an item in the mount's own place",
     "mounts: [{path: /a, configMap: {name: a, items: [{key: k, path: ..data}]}}]", "items[0].path .."),
    ("f32 a rule of nothing", "capabilities: {network: {egress: [{}]}}", "spec.capabilities.network.egress[0].host methods paths"),
    ("f32 rules that are a star", "capabilities: {network: {egress: ['*']}}", "spec.capabilities.network.egress[0]"),
    ("a key for whoever has a name", "capabilities: {network: {egress: [{host: '*', methods: ['*'], paths: ['*'], \
     inject: [{header: A, secretKeyRef: {name: k, key: t}}]}]}}", "spec.capabilities.network.egress[0].inject https"),
    ("absurd egress", "limits: {egress: 2Ti}", "spec.limits.egress"),
    ("a mode of all bits", "mounts: [{path: /a, configMap: {name: a, defaultMode: 4095}}]", "spec.mounts[0].configMap.defaultMode 511"),
];

/// Whole specs.
#[rustfmt::skip]
const BAD_SPECS: [Row; 5] = [
    ("neither image nor module", "{}", "image module"),
    ("image with a space", "image: not an image", "spec.image"),
    ("empty image", "image: ''", "spec.image"),
    ("module without key", "module: {configMap: {name: a}}", "spec.module.configMap.key"),
    ("module without name", "module: {configMap: {name: '', key: b}}", "spec.module.configMap.name"),
];

fn refused_specs() -> Result<Vec<(&'static str, Value, &'static str)>> {
    let mut specs = Vec::new();
    for (what, yaml, words) in BAD_FIELDS {
        let mut spec: Value = serde_yaml::from_str(yaml).context(yaml)?;
        spec["module"] = json!({"configMap": {"name": "hello", "key": "main.wasm"}});
        specs.push((what, spec, words));
    }
    for (what, yaml, words) in BAD_SPECS {
        specs.push((what, serde_yaml::from_str(yaml).context(yaml)?, words));
    }
    let image = "registry.test/a:1";
    let many = json!({"image": image, "args": vec!["a"; 10_000]});
    let long = json!({"image": image, "args": ["a".repeat(1 << 20)]});
    let mounts: Vec<Value> = (0..10_000)
        .map(|number| json!({"path": format!("/{number}"), "emptyDir": {}}))
        .collect();
    let mounts = json!({"image": image, "mounts": mounts});
    let deep = json!({"image": image, "mounts": [{"path": "/a".repeat(10_000), "emptyDir": {}}]});
    specs.push(("ten thousand mounts", mounts, "spec.mounts"));
    specs.push(("a mount ten thousand deep", deep, "spec.mounts[0].path"));
    specs.push(("ten thousand arguments", many, "spec.args"));
    specs.push(("an argument of a megabyte", long, "spec.args[0]"));
    Ok(specs)
}

#[test]
fn k01_the_api_server_refuses_what_can_never_run_and_names_the_field() -> Result<()> {
    let plane = cluster::installed()?;
    let namespace = Namespace::create(plane, "bad-spec")?;
    namespace.module("hello")?;
    let mut faults = Vec::new();
    for (number, (what, spec, words)) in refused_specs()?.into_iter().enumerate() {
        let vm = manifest(&format!("bad-{number}"), &spec).to_string();
        let said = plane
            .kubectl
            .run_with(&["-n", &namespace.name, "apply", "-f", "-"], &vm)?;
        if said.ok {
            faults.push(format!("{what}: taken"));
        } else if let Some(word) = words.split(' ').find(|word| !said.stderr.contains(word)) {
            faults.push(format!(
                "{what}: no word on {word:?} in {}",
                said.stderr.trim()
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    Ok(())
}

#[test]
fn kubectl_reads_a_files_mode_as_the_docs_say() -> Result<()> {
    let plane = cluster::installed()?;
    let namespace = Namespace::create(plane, "bad-mode")?;
    for written in ["256", "0400", "0o400"] {
        let vm = format!(
            "{{apiVersion: agentvm.dev/v1alpha1, kind: AgentVM, metadata: {{name: vm}}, \
             spec: {{image: a, mounts: [{{path: /a, configMap: {{name: c, defaultMode: {written}}}}}]}}}}"
        );
        let mode = "jsonpath={.spec.mounts[0].configMap.defaultMode}";
        let apply = ["apply", "--dry-run=server", "-f", "-", "-o", mode];
        let namespaced = [&["-n", namespace.name.as_str()][..], &apply].concat();
        let read = plane.kubectl.run_with(&namespaced, &vm)?.done()?;
        assert_eq!(read, "256", "{written}");
    }
    Ok(())
}

#[test]
fn the_api_server_refuses_policies_that_rule_nothing_sensible() -> Result<()> {
    let plane = cluster::installed()?;
    let policy = |spec: Value| json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": "bad"}, "spec": spec});
    let cases = [
        (
            json!({"limits": {"max": {"memory": "-1"}}, "namespaceSelector": {}}),
            "spec.limits.max.memory",
        ),
        (
            json!({"limits": {"default": {"timeout": "soon"}}, "namespaceSelector": {}}),
            "spec.limits.default.timeout",
        ),
        (
            json!({"mode": "Maybe", "namespaceSelector": {}}),
            "spec.mode",
        ),
        (json!({"limit": {}, "namespaceSelector": {}}), "spec.limit"),
        (
            json!({"capabilities": {"clock": {"minResolution": "-1ns"}}, "namespaceSelector": {}}),
            "spec.capabilities.clock",
        ),
        (
            json!({"capabilities": {"secretMounts": true}, "namespaceSelector": {}}),
            "spec.capabilities.secretMounts",
        ),
        (
            json!({"capabilities": {"network": {"egress": ["*"]}}, "namespaceSelector": {}}),
            "spec.capabilities.network.egress[0]",
        ),
        (
            json!({"capabilities": {"network": {"networks": ["*"]}}, "namespaceSelector": {}}),
            "spec.capabilities.network.networks[0]",
        ),
        (
            json!({"limits": {"max": {"storage": "2Gi"}}, "namespaceSelector": {}}),
            "spec.limits.max.storage",
        ),
    ];
    for (spec, field) in cases {
        let said = plane
            .kubectl
            .apply(&policy(spec.clone()).to_string())?
            .refused()?;
        assert!(said.contains(field), "{spec}: no word on {field} in {said}");
    }
    Ok(())
}

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

/// A policy for one namespace alone.
fn cap_memory(
    cluster: &Cluster,
    name: &str,
    namespace: &Namespace<'_>,
    memory: &str,
) -> Result<()> {
    let policy = json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": name},
        "spec": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}},
            "limits": {"max": {"memory": memory}},
        },
    });
    cluster
        .plane
        .kubectl
        .apply(&policy.to_string())?
        .done()
        .map(|_| ())
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
