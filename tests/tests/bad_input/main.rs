//! Bad input, all the way through the API server: each kind of it ends in a stable reason and one
//! clear sentence, and nobody else notices.

#![expect(
    clippy::indexing_slicing,
    reason = "a JSON value that lacks a name gives null, it does not panic"
)]

mod endings;
mod mended;

use agentvm_tests::Result;
use agentvm_tests::cluster::{self, Cluster};
use agentvm_tests::vm::{Namespace, manifest};
use anyhow::Context;
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
