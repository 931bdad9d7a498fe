//! The CRDs as they are installed: bounded everywhere, ready for server-side apply, not drifted.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

use agentvm_crds::{crd, crds, files};
use serde_json::{Value, json};

fn schemas() -> Vec<(String, Value)> {
    let json = |crd: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition| {
        serde_json::to_value(crd).unwrap()["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    };
    crds()
        .iter()
        .map(|crd| (crd.spec.names.kind.clone(), json(crd)))
        .collect()
}

/// What is unbounded below `schema`, by path.
fn unbounded(schema: &Value, path: &str, found: &mut Vec<String>) {
    let mut needs = |bound: &str| {
        if schema.get(bound).is_none() {
            found.push(format!("{path} has no {bound}"));
        }
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if schema.get("enum").is_none() => needs("maxLength"),
        Some("array") => {
            needs("maxItems");
            needs("x-kubernetes-list-type");
        }
        Some("object") if schema.get("additionalProperties").is_some() => needs("maxProperties"),
        Some("object") if path.contains('.') => needs("properties"),
        Some(_) => {}
        None if schema.get("x-kubernetes-int-or-string") == Some(&json!(true)) => {
            needs("maxLength");
        }
        None => found.push(format!("{path} has no type")),
    }
    for forbidden in [
        "x-kubernetes-preserve-unknown-fields",
        "nullable",
        "anyOf",
        "oneOf",
        "allOf",
        "not",
    ] {
        if schema.get(forbidden).is_some() {
            found.push(format!("{path} has {forbidden}"));
        }
    }
    for (name, child) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        unbounded(child, &format!("{path}.{name}"), found);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(child) = schema.get(part) {
            unbounded(child, &format!("{path}.{part}"), found);
        }
    }
}

fn rules(schema: &Value, found: &mut Vec<Value>) {
    match schema {
        Value::Object(fields) => {
            found.extend(
                fields
                    .get("x-kubernetes-validations")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .cloned(),
            );
            fields.values().for_each(|value| rules(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| rules(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn k04_every_string_list_and_map_is_bounded() {
    for (kind, schema) in schemas() {
        let mut found = Vec::new();
        unbounded(&schema, &kind, &mut found);
        // An AgentNode has a spec, since every object has one, and nothing in it. That secretMounts
        // stands in a policy is all that it says.
        let empty = [
            "AgentNode.spec has no properties",
            "AgentPolicy.spec.capabilities.secretMounts has no properties",
        ];
        found.retain(|line| !empty.contains(&line.as_str()));
        assert_eq!(found, [""; 0]);
    }
}

#[test]
fn k04_the_walk_over_the_bounds_finds_what_is_unbounded() {
    let schema = json!({"type": "object", "properties": {
        "text": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "amount": {"x-kubernetes-int-or-string": true},
        "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    let mut found = Vec::new();
    unbounded(&schema, "k", &mut found);
    assert_eq!(found.len(), 9, "{found:#?}");
}

#[test]
fn every_rule_says_in_a_sentence_what_is_wrong() {
    for (kind, schema) in schemas() {
        let mut found = Vec::new();
        rules(&schema, &mut found);
        for rule in &found {
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(
                message.contains(' ') && !message.contains('\n'),
                "{kind}: {rule}"
            );
        }
        assert!(kind == "AgentNode" || found.len() > 5, "{kind}");
    }
}

#[test]
fn lists_merge_by_their_keys_under_server_side_apply() {
    let all = schemas();
    let schema = |kind: &str| &all.iter().find(|(name, _)| name == kind).unwrap().1;
    let keys = |kind: &str, pointer: &str| {
        schema(kind).pointer(pointer).unwrap()["x-kubernetes-list-map-keys"].clone()
    };
    let kind_of = |kind: &str, pointer: &str| {
        schema(kind).pointer(pointer).unwrap()["x-kubernetes-list-type"].clone()
    };
    assert_eq!(
        keys("AgentVM", "/properties/spec/properties/env"),
        json!(["name"])
    );
    let mounts = "/properties/spec/properties/mounts";
    assert_eq!(keys("AgentVM", mounts), json!(["path"]));
    for source in ["configMap", "secret"] {
        let items = format!("{mounts}/items/properties/{source}/properties/items");
        assert_eq!(keys("AgentVM", &items), json!(["path"]), "{source}");
    }
    assert_eq!(
        keys("AgentVM", "/properties/status/properties/conditions"),
        json!(["type"])
    );
    assert_eq!(
        keys("AgentNode", "/properties/status/properties/conditions"),
        json!(["type"])
    );
    assert_eq!(
        kind_of("AgentVM", "/properties/spec/properties/tolerations"),
        json!("atomic")
    );
    assert_eq!(
        kind_of("AgentVM", "/properties/spec/properties/args"),
        json!("atomic")
    );
}

#[test]
fn an_agent_selects_its_vms_and_status_is_a_subresource() {
    let crd = serde_json::to_value(crd("AgentVM").unwrap()).unwrap();
    let version = &crd["spec"]["versions"][0];
    assert_eq!(
        version["selectableFields"],
        json!([{"jsonPath": ".status.assignment.nodeName"}])
    );
    assert_eq!(version["subresources"], json!({"status": {}}));
    assert_eq!(crd["spec"]["names"]["shortNames"], json!(["avm"]));
}

#[test]
fn kubectl_shows_the_columns_in_their_order() {
    let crd = serde_json::to_value(crd("AgentVM").unwrap()).unwrap();
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .clone();
    let of = |priority: i64| {
        let shown = columns
            .iter()
            .filter(|column| column["priority"].as_i64().unwrap_or(0) == priority);
        shown
            .map(|column| column["name"].as_str().unwrap().to_uppercase())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(0), ["PHASE", "READY", "NODE", "RESTARTS", "AGE"]);
    assert_eq!(of(1), ["IMAGE", "MEMORY", "CPU", "STORAGE"]);
}

#[test]
fn the_files_have_not_drifted() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let generated = files().unwrap();
    for folder in ["yaml", "../charts/agentvm/crds"] {
        for (name, text) in &generated {
            let committed =
                std::fs::read_to_string(here.join(folder).join(name)).unwrap_or_default();
            assert!(
                committed == *text,
                "crds/{folder}/{name} has drifted: run `cargo xtask crds` and commit the result"
            );
        }
        assert_eq!(
            std::fs::read_dir(here.join(folder)).unwrap().count(),
            generated.len(),
            "a file that nothing generates"
        );
    }
}
