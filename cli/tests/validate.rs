//! `agentvm validate` as a user calls it: stdin in, lines and exit code out.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests: a panic is the report"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Calls `agentvm validate -f -` with `manifest`, and returns exit code, stdout and stderr.
fn validate(manifest: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_agentvm"))
        .args(["validate", "-f", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    process
        .stdin
        .take()
        .unwrap()
        .write_all(manifest.as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// An AgentVM whose `spec` is the image and `rest`.
fn vm(rest: &str) -> String {
    format!(
        "apiVersion: agentvm.dev/v1alpha1\nkind: AgentVM\nmetadata: {{name: a, namespace: team}}\n\
         spec:\n  image: registry.example/a:v1\n{rest}"
    )
}

const POLICY: &str = "apiVersion: agentvm.dev/v1alpha1
kind: AgentPolicy
metadata: {name: ceiling}
spec:
  namespaceSelector: {matchLabels: {tier: low}}
  limits: {default: {memory: 16Mi}, max: {memory: 32Mi}}
---
";

const NAMESPACE: &str = "apiVersion: v1
kind: Namespace
metadata: {name: team, labels: {tier: low}}
---
";

#[test]
fn accepted_vm_is_one_line_with_what_it_gets() {
    let (code, out, _) = validate(&vm("  limits: {memory: 48Mi, timeout: 5m}\n"), &[]);
    assert_eq!(
        out,
        "-: AgentVM team/a: OK, gets memory 48Mi, cpu 250m, fuel unlimited, timeout 5m, log rate 64Ki, log total 1Gi, storage 64Mi, inodes 16384, open files 128, clock 1ms\n"
    );
    assert_eq!(code, Some(0));
}

#[test]
fn policy_in_the_files_gives_its_default_where_its_selector_matches() {
    let (_, out, _) = validate(&[POLICY, NAMESPACE, &vm("")].concat(), &[]);
    assert!(
        out.contains("AgentVM team/a: OK, gets memory 16Mi"),
        "{out}"
    );
    assert!(out.contains("-: Namespace team: not checked"), "{out}");
}

#[test]
fn request_above_the_policy_is_refused_with_field_and_policy() {
    let (code, out, _) = validate(
        &[POLICY, NAMESPACE, &vm("  limits: {memory: 64Mi}\n")].concat(),
        &[],
    );
    let line = out.lines().find(|line| line.contains("refused")).unwrap();
    assert!(
        line.starts_with("-: AgentVM team/a: refused: spec.limits.memory: asks for 64Mi"),
        "{line}"
    );
    assert!(
        line.contains("\"ceiling\"") && line.contains("32Mi"),
        "{line}"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn policy_for_other_labels_does_not_hold_and_unknown_labels_are_noted() {
    let (code, out, _) = validate(&[POLICY, &vm("  limits: {memory: 64Mi}\n")].concat(), &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("note: Namespace \"team\" is not in the files"),
        "{out}"
    );
}

#[test]
fn vm_beside_a_policy_that_is_refused_says_that_it_is_judged_without_it() {
    let policy = POLICY.replace("max:", "maximum:");
    let (code, out, _) = validate(&[&policy, NAMESPACE, &vm("")].concat(), &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("AgentPolicy ceiling: refused: spec.limits.maximum: "),
        "{out}"
    );
    assert!(
        out.contains("a: note: AgentPolicy \"ceiling\" of these files is refused"),
        "{out}"
    );
}

#[test]
fn capability_without_any_policy_is_refused() {
    let (code, out, _) = validate(&vm("  capabilities: {clock: {resolution: 1us}}\n"), &[]);
    assert_eq!(code, Some(1));
    assert!(
        out.contains("refused: spec.capabilities.clock.resolution: "),
        "{out}"
    );
}

#[test]
fn every_mistake_names_its_field() {
    for (rest, field) in [
        ("  limits: {memory: 64MB}\n", "spec.limits.memory: "),
        ("  limits: {memory: -1}\n", "spec.limits.memory: "),
        ("  limits: {memory: 64Ti}\n", "spec.limits.memory: "),
        ("  limits: {timeout: soon}\n", "spec.limits.timeout: "),
        ("  limits: {memroy: 64Mi}\n", "spec.limits.memroy: "),
        ("  args: hello\n", "spec.args: "),
        ("  restartPolicy: Sometimes\n", "spec.restartPolicy: "),
        ("  env: [{name: A}]\n", "spec.env[0]"),
        ("  module: {configMap: {name: m, key: k}}\n", "spec: "),
        ("  hostNetwork: true\n", "spec.hostNetwork: "),
    ] {
        let (code, out, err) = validate(&vm(rest), &[]);
        assert_eq!(code, Some(1), "{rest}{out}{err}");
        assert!(out.contains(&format!("refused: {field}")), "{rest}{out}");
    }
}

#[test]
fn kinds_and_versions_of_our_group_that_do_not_exist_are_refused() {
    for (from, to, field) in [
        ("kind: AgentVM", "kind: AgentVMs", "kind: "),
        ("v1alpha1", "v9", "apiVersion: "),
        ("kind: AgentVM\n", "", "kind: is missing"),
        (
            "apiVersion: agentvm.dev/v1alpha1\n",
            "",
            "apiVersion: is missing",
        ),
    ] {
        let (code, out, _) = validate(&vm("").replacen(from, to, 1), &[]);
        assert_eq!(code, Some(1), "{to}: {out}");
        assert!(out.contains(&format!("refused: {field}")), "{to}: {out}");
    }
}

#[test]
fn key_that_a_config_map_of_the_files_lacks_is_noted() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: team}\ndata: {there: x}\n---\n";
    let env = "  env:\n  - {name: A, valueFrom: {configMapKeyRef: {name: m, key: there}}}\n  \
               - {name: B, valueFrom: {configMapKeyRef: {name: m, key: gone}}}\n";
    let (code, out, _) = validate(&[map, &vm(env)].concat(), &[]);
    assert_eq!(code, Some(0));
    assert_eq!(out.matches("note: ").count(), 1, "{out}");
    assert!(
        out.contains("note: ConfigMap \"m\" of these files has no key \"gone\""),
        "{out}"
    );
}

#[test]
fn json_says_the_same() {
    let (code, out, _) = validate(
        &[&vm("  limits: {memory: 8Ti}\n"), "---\n", &vm("")].concat(),
        &["-o", "json"],
    );
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(report["accepted"], false);
    assert_eq!(report["objects"][0]["outcome"], "Refused");
    assert_eq!(
        report["objects"][0]["problems"][0]["field"],
        "spec.limits.memory"
    );
    assert_eq!(report["objects"][1]["outcome"], "Accepted");
    assert_eq!(report["objects"][1]["granted"]["limits"]["memory"], "64Mi");
}

#[test]
fn text_that_is_no_manifest_is_one_sentence_on_stderr() {
    for (manifest, sentence) in [
        ("a: [1,\n", "error: -, document 1: not YAML: "),
        ("---\n", "error: the files hold no object\n"),
    ] {
        let (code, out, err) = validate(manifest, &[]);
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        assert!(
            err.starts_with(sentence) && err.lines().count() == 1,
            "{err}"
        );
    }
}

#[test]
fn key_of_a_mount_that_an_object_of_the_files_lacks_is_noted() {
    let objects = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: team}\nstringData: {there: x}\n---\n\
                   apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m, namespace: team}\ndata: {there: x}\n---\n";
    let policy = "apiVersion: agentvm.dev/v1alpha1\nkind: AgentPolicy\nmetadata: {name: p}\n\
                  spec: {namespaceSelector: {}, capabilities: {secretMounts: {}}}\n---\n";
    let items = "items: [{key: there, path: a}, {key: gone, path: b}]";
    let mounts = format!(
        "  mounts:\n  - {{path: /s, secret: {{secretName: s, {items}}}}}\n  \
         - {{path: /m, configMap: {{name: m, {items}}}}}\n  \
         - {{path: /o, configMap: {{name: m, optional: true, {items}}}}}\n"
    );
    let (code, out, _) = validate(&[objects, policy, &vm(&mounts)].concat(), &[]);
    assert_eq!(code, Some(0), "{out}");
    assert_eq!(out.matches("note: ").count(), 2, "{out}");
    for kind in ["Secret \"s\"", "ConfigMap \"m\""] {
        let note = format!("note: {kind} of these files has no key \"gone\"");
        assert!(out.contains(&note), "{out}");
    }
}

const NETWORK: &str = "apiVersion: agentvm.dev/v1alpha1
kind: AgentPolicy
metadata: {name: net}
spec:
  namespaceSelector: {}
  capabilities:
    network: {egress: [{host: '*.example.com', methods: [GET], paths: ['*']}]}
---
";

/// A VM that may ask `host` for everything by `method`, with a key.
fn asking(host: &str, method: &str) -> String {
    vm(&format!(
        "  capabilities: {{network: {{egress: [{{host: {host}, methods: [{method}], paths: ['*'], inject: [{{header: X-Key, secretKeyRef: {{name: keys, key: token}}}}]}}]}}}}\n"
    ))
}

#[test]
fn what_a_vm_may_ask_of_the_network_is_part_of_what_it_gets() {
    let (code, out, _) = validate(&[NETWORK, &asking("api.example.com", "GET")].concat(), &[]);
    assert!(
        out.contains("clock 1ms, connections 32, egress 100Mi, egress rate 10Mi; may ask GET https://api.example.com:443 /*\n"),
        "{out}"
    );
    assert_eq!(code, Some(0));
}

#[test]
fn f32_a_rule_that_no_policy_allows_is_refused_with_its_field() {
    let rule = "-: AgentVM team/a: refused: spec.capabilities.network.egress[0]";
    let cases = [
        (
            asking("api.example.com", "GET"),
            "",
            "no AgentPolicy selects the namespace",
        ),
        (
            asking("api.example.com", "POST"),
            NETWORK,
            ".methods: asks for POST, AgentPolicy \"net\" allows GET there",
        ),
        (
            asking("api.example.org", "GET"),
            NETWORK,
            ".host: asks for api.example.org, AgentPolicy \"net\" allows *.example.com",
        ),
        (
            asking("localhost", "GET"),
            NETWORK,
            ".host: the host \"localhost\" has one label",
        ),
    ];
    for (vm, policy, said) in cases {
        let (code, out, _) = validate(&[policy, &vm].concat(), &[]);
        assert!(out.contains(rule) && out.contains(said), "{out}");
        assert_eq!(code, Some(1));
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_refused_itself() {
    let wide = "apiVersion: agentvm.dev/v1alpha1
kind: AgentPolicy
metadata: {name: wide}
spec: {namespaceSelector: {}, capabilities: {network: {networks: [10.0.0.0/7]}}}
";
    let (code, out, _) = validate(wide, &[]);
    let said = "-: AgentPolicy wide: refused: spec.capabilities.network.networks[0]: 10.0.0.0/7 can't be opened";
    assert!(out.starts_with(said), "{out}");
    assert_eq!(code, Some(1));
}

#[test]
fn a_key_that_is_not_in_the_secret_beside_it_is_noted() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys, namespace: team}\nstringData: {other: x}\n---\n";
    let (_, out, _) = validate(
        &[NETWORK, secret, &asking("api.example.com", "GET")].concat(),
        &[],
    );
    assert!(
        out.contains("note: Secret \"keys\" of these files has no key \"token\""),
        "{out}"
    );
}
