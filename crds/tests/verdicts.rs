//! The table of verdicts, held against the offline validation; and what a table can't say.

use agentvm_crds::validate::{validate, validate_update};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    case: String,
    #[serde(default = "agent_vm")]
    kind: String,
    spec: Value,
    old: Option<Value>,
    #[serde(default)]
    errors: Vec<String>,
}

fn agent_vm() -> String {
    "AgentVM".to_owned()
}

fn object(kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": kind, "metadata": {"name": "one"}, "spec": spec})
}

fn said(errors: &[agentvm_crds::FieldError]) -> Vec<String> {
    let mut lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

#[test]
fn k01_every_row_of_the_table_gets_its_verdict() {
    let rows: Vec<Row> = serde_yaml::from_str(include_str!("verdicts.yaml")).unwrap();
    assert!(rows.len() > 50);
    let mut differences = Vec::new();
    for Row {
        case,
        kind,
        spec,
        old,
        mut errors,
    } in rows
    {
        let new = object(&kind, &spec);
        let got = match old {
            None => validate(&new),
            Some(old) => validate_update(&new, &object(&kind, &old)),
        };
        errors.sort();
        let got = said(&got);
        if got != errors {
            differences.push(format!(
                "{case}\n   got      {got:#?}\n   expected {errors:#?}"
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn k04_lists_maps_and_texts_are_bounded() {
    let cases = [
        (
            json!({"image": "a".repeat(513)}),
            "spec.image: has 513 characters, at most 512 are allowed",
        ),
        (
            json!({"image": "a", "args": vec!["x"; 129]}),
            "spec.args: has 129 entries, at most 128 are allowed",
        ),
        (
            json!({"image": "a", "args": ["x".repeat(32_769)]}),
            "spec.args[0]: has 32769 characters, at most 32768 are allowed",
        ),
        (
            json!({"image": "a", "nodeSelector": (0..33).map(|n| (n.to_string(), "v")).collect::<std::collections::BTreeMap<_, _>>()}),
            "spec.nodeSelector: has 33 entries, at most 32 are allowed",
        ),
        (
            json!({"image": "a", "nodeSelector": {"k".repeat(318): "v"}}),
            "spec.nodeSelector: a label's key has at most 317 characters",
        ),
        (
            json!({"image": "a", "mounts": (0..33).map(|n| json!({"path": format!("/{n}"), "emptyDir": {}})).collect::<Vec<_>>()}),
            "spec.mounts: has 33 entries, at most 32 are allowed",
        ),
        (
            json!({"image": "a", "mounts": [{"path": format!("/{}", "p".repeat(1024)), "emptyDir": {}}]}),
            "spec.mounts[0].path: has 1025 characters, at most 1024 are allowed",
        ),
        (
            json!({"image": "a", "mounts": [
                {"path": format!("/a/{}", "n".repeat(255)), "emptyDir": {}},
                {"path": format!("/a/{}/b", "n".repeat(256)), "emptyDir": {}},
            ]}),
            "spec.mounts[1].path: must be of names of at most 255 bytes",
        ),
        (
            json!({"image": "a", "mounts": [
                {"path": "/a".repeat(64), "emptyDir": {}},
                {"path": "/b".repeat(65), "emptyDir": {}},
            ]}),
            "spec.mounts[1].path: must be of at most 64 names",
        ),
        (
            json!({"image": "a", "mounts": [{"path": "/c", "configMap": {"name": "c", "items": [
                {"key": "k", "path": format!("{}a", "a/".repeat(63))},
                {"key": "k", "path": format!("{}b", "b/".repeat(64))},
            ]}}]}),
            "spec.mounts[0].configMap.items[1].path: must be of at most 64 names",
        ),
        (
            json!({"image": "a", "mounts": [{"path": "/c", "configMap": {"name": "c",
                "items": (0..65).map(|n| json!({"key": "k", "path": n.to_string()})).collect::<Vec<_>>()}}]}),
            "spec.mounts[0].configMap.items: has 65 entries, at most 64 are allowed",
        ),
    ];
    let rule = |rule: Value| json!({"image": "a", "capabilities": {"network": {"egress": [rule]}}});
    let host = "api.example.com";
    let network = [
        (
            json!({"image": "a", "capabilities": {"network": {"egress": vec![json!({"host": host, "methods": ["GET"], "paths": ["*"]}); 33]}}}),
            "spec.capabilities.network.egress: has 33 entries, at most 32 are allowed",
        ),
        (
            rule(json!({"host": "a".repeat(256), "methods": ["GET"], "paths": ["*"]})),
            "spec.capabilities.network.egress[0].host: has 256 characters, at most 255 are allowed",
        ),
        (
            rule(json!({"host": host, "ports": vec![1; 17], "methods": ["GET"], "paths": ["*"]})),
            "spec.capabilities.network.egress[0].ports: has 17 entries, at most 16 are allowed",
        ),
        (
            rule(json!({"host": host, "methods": vec!["GET"; 8], "paths": ["*"]})),
            "spec.capabilities.network.egress[0].methods: has 8 entries, at most 7 are allowed",
        ),
        (
            rule(json!({"host": host, "methods": ["GET"], "paths": vec!["*"; 33]})),
            "spec.capabilities.network.egress[0].paths: has 33 entries, at most 32 are allowed",
        ),
        (
            rule(
                json!({"host": host, "methods": ["GET"], "paths": [format!("/{}", "a".repeat(1024))]}),
            ),
            "spec.capabilities.network.egress[0].paths[0]: has 1025 characters, at most 1024 are allowed",
        ),
        (
            rule(
                json!({"host": host, "methods": ["GET"], "paths": ["*"], "inject": (0..9).map(|n| json!({"header": format!("H{n}"), "secretKeyRef": {"name": "k", "key": "t"}})).collect::<Vec<_>>()}),
            ),
            "spec.capabilities.network.egress[0].inject: has 9 entries, at most 8 are allowed",
        ),
    ];
    for (spec, expected) in cases.into_iter().chain(network) {
        assert_eq!(said(&validate(&object("AgentVM", &spec))), [expected]);
    }
}

/// Not a row of the table: `kubectl` reads it as octal before the API server sees it.
#[test]
fn a_mode_as_in_c_is_refused_with_what_to_write_instead() {
    let spec: Value = serde_yaml::from_str(
        "{image: a, mounts: [{path: /a, configMap: {name: c, defaultMode: 0400}}]}",
    )
    .unwrap();
    assert_eq!(
        said(&validate(&object("AgentVM", &spec))),
        [
            "spec.mounts[0].configMap.defaultMode: must be a whole number: write 256 or 0o400, 0400 is octal to some readers of YAML and text to others"
        ]
    );
    let spec: Value = serde_yaml::from_str(
        "{image: a, mounts: [{path: /a, configMap: {name: c, defaultMode: 0o400}}]}",
    )
    .unwrap();
    assert_eq!(said(&validate(&object("AgentVM", &spec))), [""; 0]);
}

#[test]
fn an_object_of_another_version_or_kind_is_refused_at_once() {
    let mut vm = object("AgentVM", &json!({"image": "a"}));
    vm["apiVersion"] = json!("agentvm.dev/v1");
    assert_eq!(
        said(&validate(&vm)),
        ["apiVersion: must be agentvm.dev/v1alpha1, \"agentvm.dev/v1\" was written"]
    );
    let pod = object("AgentPod", &json!({}));
    assert_eq!(
        said(&validate(&pod)),
        ["kind: must be one of AgentNode, AgentPolicy, AgentVM, \"AgentPod\" was written"]
    );
}

#[test]
fn metadata_is_checked_as_the_api_server_does() {
    let with = |metadata: Value| {
        let mut vm = object("AgentVM", &json!({"image": "a"}));
        vm["metadata"] = metadata;
        said(&validate(&vm))
    };
    let rule = "metadata.name: must be at most 253 lower-case letters, digits, - and ., starting and ending with a letter or digit";
    assert_eq!(with(json!({"generateName": "a-"})), [""; 0]);
    assert_eq!(
        with(json!({"name": "a.b-1", "labels": {"x": "y"}})),
        [""; 0]
    );
    assert_eq!(with(json!({})), ["metadata.name: is missing"]);
    for name in ["A", "a_b", "-a", "a.", "a..b", &"a".repeat(254)] {
        assert_eq!(with(json!({ "name": name })), [rule], "{name}");
    }
    assert_eq!(
        with(json!({"name": "a", "lables": {}})),
        ["metadata.lables: is no field of the API"]
    );
    assert_eq!(
        with(json!({"name": "a", "labels": {"n": 1}})),
        ["metadata.labels.n: must be text, put it in quotes"]
    );
}

#[test]
fn a_document_that_is_no_object_is_an_error_and_no_panic() {
    for document in [
        json!(null),
        json!([]),
        json!("text"),
        json!(7),
        json!({}),
        json!({"spec": []}),
    ] {
        assert!(!validate(&document).is_empty(), "{document}");
    }
    let no_spec =
        json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "a"}});
    assert_eq!(said(&validate(&no_spec)), ["spec: is missing"]);
}
