//! `agentvm why` as a user calls it: files and a request in, the verdict and an exit code out.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "helpers of tests: a panic is the report"
)]

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

const POLICY: &str = "apiVersion: agentvm.dev/v1alpha1
kind: AgentPolicy
metadata: {name: team}
spec:
  namespaceSelector: {}
  capabilities:
    network:
      egress:
      - {host: '*.example.com', methods: [GET, POST], paths: ['*']}
      - {host: 10.20.0.0/16, scheme: http, methods: [GET], paths: ['*']}
      networks: [10.20.0.0/16]
---
";

const VM: &str = "apiVersion: agentvm.dev/v1alpha1
kind: AgentVM
metadata: {name: heron, namespace: team}
spec:
  image: registry.example/a:v1
  capabilities:
    network:
      egress:
      - host: '*.example.com'
        methods: [GET]
        paths: ['/v1/*']
      - host: api.example.com
        methods: [GET, POST]
        paths: ['/v1/*', /health]
        inject:
        - header: Authorization
          template: 'Bearer {}'
          secretKeyRef: {name: keys, key: token}
";

const INSIDE: &str = "apiVersion: agentvm.dev/v1alpha1
kind: AgentVM
metadata: {name: inside}
spec:
  image: registry.example/a:v1
  capabilities:
    network:
      egress:
      - {host: 10.20.0.0/24, scheme: http, methods: [GET], paths: ['*']}
";

/// Calls `agentvm why -f -`, and returns exit code, stdout and stderr.
fn why(files: &[&str], args: &[&str]) -> (Option<i32>, String, String) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_agentvm"))
        .args(["why", "-f", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let manifest = files.join("---\n");
    let stdin = process.stdin.take();
    stdin.unwrap().write_all(manifest.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn as_json(files: &[&str], args: &[&str]) -> (Option<i32>, Value) {
    let (code, out, error) = why(files, &[args, &["-o", "json"]].concat());
    (code, serde_json::from_str(&out).expect(&error))
}

#[test]
fn an_allowed_request_names_its_rule_its_policy_and_what_is_added() {
    let (code, out, error) = why(
        &[POLICY, VM],
        &["GET", "https://API.example.com:443/v1/models?q=1"],
    );
    assert_eq!(
        out,
        "allowed: GET https://api.example.com/v1/models?q=1
  AgentVM: team/heron
  rule: spec.capabilities.network.egress[1]: GET, POST https://api.example.com:443 /v1/*, /health
  adds: Authorization: Bearer {}, where {} is key \"token\" of Secret \"keys\"
  policy: AgentPolicy \"team\" (Enforce) allows it by spec.capabilities.network.egress[0]: GET, POST https://*.example.com:443 /*
  address: checked when the connection is made: one of this machine, of the cluster or of a private network is refused unless a policy opens it
",
        "{error}"
    );
    assert_eq!(code, Some(0));
}

#[test]
fn a_denied_request_says_how_far_the_closest_rule_goes_and_what_the_policies_say() {
    let cases = [
        (
            ["GET", "https://evil.example/"],
            "no rule allows the host",
            json!([]),
            json!("no rule allows the host"),
        ),
        (
            ["GET", "http://api.example.com/v1/models"],
            "a rule allows the host, and not by this scheme",
            json!([0, 1]),
            json!("a rule allows the host, and not by this scheme"),
        ),
        (
            ["DELETE", "https://api.example.com/v1/models"],
            "a rule allows the host, and not with this method",
            json!([0, 1]),
            json!("a rule allows the host, and not with this method"),
        ),
        (
            ["POST", "https://www.example.com/v1/models"],
            "a rule allows the host, and not with this method",
            json!([0]),
            Value::Null,
        ),
        (
            ["POST", "https://api.example.com/v2"],
            "a rule allows the host with this method, and not for this path",
            json!([1]),
            Value::Null,
        ),
    ];
    for (request, reason, closest, policy) in cases {
        let (code, answer) = as_json(&[POLICY, VM], &request);
        assert_eq!(code, Some(1), "{request:?}: {answer}");
        assert_eq!(answer["allowed"], false);
        assert_eq!(answer["reason"], reason, "{request:?}");
        assert_eq!(answer["guestSees"], "HTTP-request-denied");
        let fields = answer["closest"].as_array().cloned().unwrap_or_default();
        let expected: Vec<Value> = closest
            .as_array()
            .unwrap()
            .iter()
            .map(|index| json!(format!("spec.capabilities.network.egress[{index}]")))
            .collect();
        let named: Vec<Value> = fields.iter().map(|rule| rule["field"].clone()).collect();
        assert_eq!(named, expected, "{request:?}");
        assert_eq!(answer["policies"][0]["reason"], policy, "{request:?}");
        assert_eq!(answer["rule"], Value::Null);
        assert_eq!(answer["inject"], Value::Null);
    }
}

#[test]
fn a_vm_that_its_policies_refuse_may_ask_nothing() {
    let request = ["GET", "https://api.example.com/v1/models"];
    let (code, answer) = as_json(&[VM], &request);
    assert_eq!(code, Some(1));
    assert_eq!(answer["policies"], json!([]));
    let refused = answer["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 2, "{answer}");
    assert!(
        refused[0]
            .as_str()
            .unwrap()
            .ends_with("no AgentPolicy selects the namespace, and without one no VM has a network"),
        "{answer}"
    );
    let narrow = POLICY.replace("[GET, POST]", "[GET]");
    let (code, out, _) = why(&[&narrow, VM], &request);
    assert_eq!(code, Some(1));
    let refusal = "refused: spec.capabilities.network.egress[1].methods asks for GET, POST, AgentPolicy \"team\" allows GET there";
    assert!(out.contains(refusal), "{out}");
    let audit = narrow.replace("namespaceSelector", "mode: Audit\n  namespaceSelector");
    let (code, out, _) = why(&[&audit, VM], &request);
    assert_eq!(code, Some(0), "{out}");
}

#[test]
fn f05_an_address_that_is_written_out_is_judged_by_its_class() {
    let cases = [
        ("http://10.20.0.7/", Some(0), "open", Value::Null),
        (
            "http://[::ffff:10.20.0.7]/",
            Some(1),
            "closed",
            json!("embedded"),
        ),
        (
            "http://169.254.169.254/",
            Some(1),
            "closed",
            json!("metadata"),
        ),
        ("http://127.0.0.1/", Some(1), "closed", json!("loopback")),
        ("http://10.21.0.7/", Some(1), "closed", json!("private")),
        ("http://192.0.2.7/", Some(1), "closed", json!("reserved")),
    ];
    for (url, code, checked, class) in cases {
        let (got, answer) = as_json(&[POLICY, INSIDE], &["GET", url]);
        assert_eq!(got, code, "{url}: {answer}");
        assert_eq!(answer["address"]["checked"], checked, "{url}");
        assert_eq!(answer["address"]["class"], class, "{url}");
    }
}

#[test]
fn f15_a_rule_without_a_network_of_the_policy_leads_nowhere() {
    let closed = POLICY.replace("networks: [10.20.0.0/16]", "networks: []");
    let (code, answer) = as_json(&[&closed, INSIDE], &["GET", "http://10.20.0.7/"]);
    assert_eq!(code, Some(1));
    assert_eq!(answer["guestSees"], "destination-IP-prohibited");
    assert_eq!(
        answer["rule"]["field"],
        "spec.capabilities.network.egress[0]"
    );
}

#[test]
fn what_cannot_be_told_ends_with_code_2_and_one_sentence() {
    let request = ["GET", "https://api.example.com/"];
    let other = VM.replace("name: heron", "name: crane");
    let broken = VM.replace("paths: ['/v1/*']", "paths: []");
    let star = VM.replace("host: api.example.com", "host: '*'");
    let unreadable = POLICY.replace("10.20.0.0/16]", "203.0.113.0/24]");
    let cases: [(&[&str], &[&str], &str); 9] = [
        (&[POLICY], &request, "the files hold no AgentVM"),
        (
            &[VM],
            &["GET", "https://api.example.com/", "--vm", "crane"],
            "no AgentVM named \"crane\"",
        ),
        (
            &[VM, &other],
            &request,
            "the files hold the AgentVMs team/heron, team/crane: choose one with --vm",
        ),
        (
            &[&broken],
            &request,
            "egress[0].paths: has 0 entries, at least 1 is needed",
        ),
        (
            &[&star],
            &request,
            "egress[1].inject: a key goes to one host by https alone",
        ),
        (
            &[&unreadable, VM],
            &request,
            "networks[0]: 203.0.113.0/24 can't be opened",
        ),
        (
            &[VM],
            &["get", "https://api.example.com/"],
            "the method \"get\" is none of",
        ),
        (
            &[VM],
            &["GET", "https://user@api.example.com/"],
            "HTTP-request-URI-invalid",
        ),
        (
            &[VM],
            &["GET", "https://api.example.com/v1/../admin"],
            "HTTP-request-URI-invalid",
        ),
    ];
    for (files, args, said) in cases {
        let (code, out, error) = why(files, args);
        assert_eq!(code, Some(2), "{args:?}: {out}{error}");
        assert!(error.contains(said), "{args:?}: {error}");
        assert_eq!((out.as_str(), error.lines().count()), ("", 1), "{error}");
    }
}

#[test]
fn one_of_several_vms_is_chosen_by_its_name() {
    let other = VM.replace("name: heron", "name: crane");
    let (code, answer) = as_json(
        &[POLICY, VM, &other],
        &["--vm", "crane", "GET", "https://api.example.com/health"],
    );
    assert_eq!((code, &answer["vm"]), (Some(0), &json!("team/crane")));
    let elsewhere = VM.replace("namespace: team", "namespace: other");
    let (code, answer) = as_json(
        &[POLICY, VM, &elsewhere],
        &[
            "--vm",
            "heron",
            "-n",
            "other",
            "GET",
            "https://api.example.com/health",
        ],
    );
    assert_eq!((code, &answer["vm"]), (Some(0), &json!("other/heron")));
}

#[test]
fn h02_the_value_of_a_key_in_the_files_is_never_shown() {
    let secret = "apiVersion: v1
kind: Secret
metadata: {name: keys, namespace: team}
stringData: {token: CANARY-7f3a}
";
    for args in [
        &["GET", "https://api.example.com/v1/x"][..],
        &["GET", "https://api.example.com/v1/x", "-o", "json"],
    ] {
        let (code, out, error) = why(&[POLICY, VM, secret], args);
        assert_eq!(code, Some(0), "{error}");
        assert!(
            out.contains("Authorization") && out.contains("keys"),
            "{out}"
        );
        assert!(
            !out.contains("CANARY") && !error.contains("CANARY"),
            "{out}"
        );
    }
}
