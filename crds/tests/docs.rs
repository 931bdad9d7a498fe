//! `docs/api.md` and the mutability table against the schema and the rules.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

use agentvm_crds::agentvm::Phase;
use agentvm_crds::conditions::{
    AcceptedReason, ConditionType, ImageReason, LimitsReason, PlacedReason, StorageReason,
};
use agentvm_crds::crd;
use agentvm_crds::mutability::{Mutability, TABLE};
use agentvm_crds::validate::validate_update;
use agentvm_policy::{EndReason, Fault, LimitField};
use serde_json::{Value, json};

fn api_md() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api.md")).unwrap()
}

/// The cells of the row that starts with `` `name` ``, below the heading `section`.
fn row(section: &str, name: &str) -> Vec<String> {
    let text = api_md();
    let start = text
        .find(&format!("# {section}\n"))
        .unwrap_or_else(|| panic!("no heading {section}"));
    let end = text[start + 1..]
        .find("\n## ")
        .map_or(text.len(), |end| start + 1 + end);
    let line = text[start..end]
        .lines()
        .find(|line| line.starts_with(&format!("| `{name}`")));
    let line = line.unwrap_or_else(|| panic!("{section} has no row for {name}"));
    line.trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

fn properties(kind: &str, part: &str) -> Vec<String> {
    let crd = serde_json::to_value(crd(kind).unwrap()).unwrap();
    let schema =
        &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]["properties"];
    let names = schema
        .as_object()
        .into_iter()
        .flatten()
        .flat_map(|(name, child)| {
            let nested = child["properties"]
                .as_object()
                .filter(|_| ["limits", "capabilities"].contains(&name.as_str()));
            match nested {
                Some(nested) => nested
                    .keys()
                    .map(|inner| format!("{part}.{name}.{inner}"))
                    .collect(),
                None => vec![format!("{part}.{name}")],
            }
        });
    names.collect()
}

#[test]
fn every_field_of_a_spec_has_its_place_in_the_mutability_table() {
    let mut fields = properties("AgentVM", "spec");
    let mut table: Vec<_> = TABLE.iter().map(|(field, _)| (*field).to_owned()).collect();
    fields.sort();
    table.sort();
    assert_eq!(table, fields);
}

#[test]
fn the_docs_say_what_a_change_of_each_field_does() {
    for (field, mutability) in TABLE {
        assert_eq!(
            row("AgentVM: spec", field).last().unwrap(),
            mutability.as_str(),
            "{field}"
        );
    }
}

#[test]
fn the_rules_refuse_a_change_of_the_immutable_fields_and_of_no_other() {
    let samples = [
        ("spec.image", json!("a"), json!("b")),
        ("spec.args", json!(["a"]), json!(["b"])),
        ("spec.env", json!([{"name": "A", "value": "a"}]), json!([])),
        (
            "spec.capabilities.clock",
            json!({"resolution": "1ms"}),
            json!({"resolution": "1us"}),
        ),
        (
            "spec.capabilities.network",
            json!({"egress": []}),
            json!({"egress": [{"host": "api.example.com", "methods": ["GET"], "paths": ["*"]}]}),
        ),
        ("spec.limits.memory", json!("1Mi"), json!("2Mi")),
        ("spec.limits.cpu", json!("100m"), json!("200m")),
        ("spec.limits.fuel", json!("1M"), json!("2M")),
        ("spec.limits.timeout", json!("1s"), json!("2s")),
        ("spec.limits.logRate", json!("1Ki"), json!("2Ki")),
        ("spec.limits.logTotal", json!("1Mi"), json!("2Mi")),
        ("spec.limits.storage", json!("1Mi"), json!("2Mi")),
        ("spec.limits.inodes", json!(16), json!("1k")),
        ("spec.limits.openFiles", json!(8), json!(64)),
        ("spec.limits.connections", json!(8), json!(64)),
        ("spec.limits.egress", json!(0), json!("1Mi")),
        ("spec.limits.egressRate", json!("1Ki"), json!("1Mi")),
        (
            "spec.mounts",
            json!([{"path": "/work", "emptyDir": {}}]),
            json!([{"path": "/work", "emptyDir": {}, "readOnly": true}]),
        ),
        ("spec.suspend", json!(false), json!(true)),
        ("spec.restartPolicy", json!("Never"), json!("Always")),
        ("spec.terminationGracePeriod", json!("1s"), json!("2s")),
        ("spec.ttlAfterFinished", json!("1s"), json!("2s")),
        ("spec.nodeSelector", json!({"a": "b"}), json!({})),
        (
            "spec.tolerations",
            json!([{"operator": "Exists"}]),
            json!([]),
        ),
        (
            "spec.module",
            json!({"configMap": {"name": "m", "key": "a"}}),
            json!({"configMap": {"name": "m", "key": "b"}}),
        ),
    ];
    assert_eq!(samples.len(), TABLE.len());
    for (field, before, after) in samples {
        let refused = !validate_update(&vm_with(field, after), &vm_with(field, before)).is_empty();
        let immutable = agentvm_crds::mutability::of(field) == Some(Mutability::Immutable);
        assert_eq!(refused, immutable, "{field}");
    }
}

fn vm_with(path: &str, value: Value) -> Value {
    let mut vm = json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "a"}, "spec": {}});
    if path != "spec.module" {
        vm["spec"]["image"] = json!("a");
    }
    let target = path
        .split('.')
        .fold(&mut vm, |object, field| &mut object[field]);
    *target = value;
    vm
}

#[test]
fn the_docs_have_a_row_for_every_field() {
    for field in properties("AgentVM", "status") {
        row("AgentVM: status", &field);
    }
    for field in properties("AgentNode", "status") {
        row("AgentNode", &field);
    }
    for field in properties("AgentPolicy", "spec") {
        let named: &[&str] = if field.starts_with("spec.capabilities") {
            &[
                "spec.capabilities.clock.minResolution",
                "spec.capabilities.network.egress",
                "spec.capabilities.network.networks",
                "spec.capabilities.secretMounts",
            ]
        } else {
            &[&field]
        };
        for name in named {
            row("AgentPolicy", name);
        }
    }
}

#[test]
fn the_docs_know_the_bounds_and_the_default_of_every_limit() {
    for field in LimitField::ALL {
        let cells = row("AgentVM: spec", &field.path());
        let default = field.default().map_or("unlimited".to_owned(), |default| {
            format!("`{}`", field.show(default))
        });
        let bounds = format!(
            "`{}` to `{}`",
            field.show(field.min()),
            field.show(field.max())
        );
        assert_eq!(
            (&cells[2], &cells[3]),
            (&default, &bounds),
            "{}",
            field.name()
        );
    }
}

#[test]
fn the_docs_have_a_row_for_every_field_of_a_mount() {
    let crd = serde_json::to_value(crd("AgentVM").unwrap()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mount = &schema["spec"]["properties"]["mounts"]["items"];
    let mut fields = Vec::new();
    names_of(mount, "", &mut fields);
    assert!(fields.len() > 10, "{fields:?}");
    for field in fields {
        // What a secret has in common with a configMap stands there.
        let shown = match field.strip_prefix("secret.") {
            Some("secretName") | None => field,
            Some(rest) => format!("configMap.{rest}"),
        };
        row("AgentVM: mounts", &shown);
    }
}

#[test]
fn the_docs_have_a_row_for_every_field_of_a_rule_for_the_network() {
    let crd = serde_json::to_value(crd("AgentVM").unwrap()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let network = &schema["spec"]["properties"]["capabilities"]["properties"]["network"];
    let mut fields = Vec::new();
    names_of(&network["properties"]["egress"]["items"], "", &mut fields);
    assert_eq!(fields.len(), 9, "{fields:?}");
    for field in fields {
        let shown = field.trim_end_matches("[]");
        let shown = shown
            .split_once(".secretKeyRef")
            .map_or(shown.to_owned(), |(list, _)| format!("{list}.secretKeyRef"));
        row("AgentVM: network", &shown);
    }
}

/// The paths of the fields that have no fields of their own.
fn names_of(schema: &Value, path: &str, found: &mut Vec<String>) {
    let fields = schema["properties"]
        .as_object()
        .or_else(|| schema["items"]["properties"].as_object());
    for (name, child) in fields.into_iter().flatten() {
        let list = if child["type"] == "array" { "[]" } else { "" };
        let path = format!("{path}{name}{list}");
        let before = found.len();
        names_of(child, &format!("{path}."), found);
        if found.len() == before {
            found.push(path);
        }
    }
}

#[test]
fn the_docs_list_every_phase_condition_and_reason() {
    for phase in Phase::ALL {
        row("AgentVM: status", phase.as_str());
    }
    let text = api_md();
    let types = ConditionType::ALL.iter().map(|kind| kind.as_str());
    let accepted = AcceptedReason::ALL.iter().map(|reason| reason.as_str());
    let placed = PlacedReason::ALL.iter().map(|reason| reason.as_str());
    let storage = StorageReason::ALL.iter().map(|reason| reason.as_str());
    let limits = LimitsReason::ALL.iter().map(|reason| reason.as_str());
    let image = ImageReason::ALL.iter().map(|reason| reason.as_str());
    for word in types
        .chain(accepted)
        .chain(placed)
        .chain(image)
        .chain(storage)
        .chain(limits)
    {
        assert!(text.contains(&format!("`{word}`")), "{word} is missing");
    }
}

#[test]
fn the_docs_say_whose_doing_an_end_is_and_what_to_raise() {
    for reason in EndReason::ALL {
        let cells = row("AgentVM: status", reason.as_str());
        let fault = match reason.fault() {
            Fault::None => "`Nobody`",
            Fault::Guest => "`Program`",
            Fault::Host => "`Platform`",
        };
        let raise = reason
            .field_to_raise()
            .map_or(String::new(), |field| format!("`{field}`"));
        assert_eq!(
            (cells[2].as_str(), &cells[3]),
            (fault, &raise),
            "{reason:?}"
        );
    }
}
