//! The table of verdicts, sent to the API server: it accepts and refuses what the offline
//! validation does, and names the same fields.

use agentvm_tests::cluster;
use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::{Result, vm::Namespace};
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
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

#[test]
fn k01_the_api_server_says_what_the_offline_validation_says() -> Result<()> {
    let plane = cluster::installed()?;
    let namespace = Namespace::create(plane, "verdicts")?;
    let rows: Vec<Row> = serde_yaml::from_str(include_str!("../../crds/tests/verdicts.yaml"))?;
    let mut differences = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let said = ask(plane, &namespace.name, &format!("row-{number}"), row)?;
        let fields = row.errors.iter().filter_map(|error| error.split_once(": "));
        match said {
            None if row.errors.is_empty() => {}
            None => differences.push(format!("{}: accepted", row.case)),
            Some(said) if row.errors.is_empty() => {
                differences.push(format!("{}: {said}", row.case));
            }
            Some(said) => differences.extend(
                fields
                    .filter(|(field, _)| !said.contains(field))
                    .map(|(field, _)| format!("{}: no word on {field} in {said}", row.case)),
            ),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(())
}

/// What the API server says against the row; `None` where it accepts.
fn ask(plane: &ControlPlane, namespace: &str, name: &str, row: &Row) -> Result<Option<String>> {
    let collection = match row.kind.as_str() {
        "AgentVM" => format!("/apis/agentvm.dev/v1alpha1/namespaces/{namespace}/agentvms"),
        _ => "/apis/agentvm.dev/v1alpha1/agentpolicies".to_owned(),
    };
    let object = |spec: &Value| json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": row.kind, "metadata": {"name": name}, "spec": spec});
    let answer = match &row.old {
        None => {
            let path = format!("{collection}?dryRun=All&fieldValidation=Strict");
            plane.api.create(&path, &object(&row.spec))
        }
        Some(old) => {
            plane
                .api
                .create(&collection, &object(old))
                .context("the object before")?;
            let change = json!({"spec": merged(old, &row.spec)});
            let path = format!("{collection}/{name}?fieldValidation=Strict");
            plane.api.patch(&path, &change)
        }
    };
    Ok(answer.err().map(|error| format!("{error:#}")))
}

/// A merge patch that turns `old` into `new`: what is gone becomes null.
fn merged(old: &Value, new: &Value) -> Value {
    let mut change = new.clone();
    if let (Some(change), Some(old)) = (change.as_object_mut(), old.as_object()) {
        for field in old.keys() {
            change.entry(field.clone()).or_insert(Value::Null);
        }
    }
    change
}
