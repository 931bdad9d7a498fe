//! `spec.mounts` as the types that the agent works on, where no rule of the API server has
//! looked at it: a file, or an object from an older CRD.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use agentvm_crds::validate::validate;
use agentvm_crds::{AgentVM, AskedFiles, AskedItem, AskedMount, AskedSource, ObjectKind};
use proptest::prelude::*;
use serde_json::{Value, json};

fn object(mounts: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "a"},
        "spec": {"image": "a", "mounts": mounts},
    })
}

fn vm(mounts: &Value) -> AgentVM {
    serde_json::from_value(object(mounts)).unwrap()
}

fn asked(mount: &Value) -> Result<AskedMount, String> {
    let mounts = vm(&json!([mount]))
        .mounts()
        .map_err(|error| error.to_string())?;
    Ok(mounts.into_iter().next().unwrap())
}

#[test]
fn a_mount_is_decided_with_its_defaults() {
    let files = |kind, name: &str| AskedFiles {
        kind,
        name: name.to_owned(),
        items: Vec::new(),
        default_mode: 0o644,
        optional: false,
    };
    let cases = [
        (
            json!({"path": "/work", "emptyDir": {}}),
            false,
            AskedSource::EmptyDir {
                size_limit_bytes: None,
            },
        ),
        (
            json!({"path": "/", "readOnly": true, "emptyDir": {"sizeLimit": "16Mi"}}),
            true,
            AskedSource::EmptyDir {
                size_limit_bytes: Some(16 << 20),
            },
        ),
        (
            json!({"path": "/etc", "configMap": {"name": "settings"}}),
            true,
            AskedSource::Files(files(ObjectKind::ConfigMap, "settings")),
        ),
        (
            json!({"path": "/key", "readOnly": true, "secret": {"secretName": "key"}}),
            true,
            AskedSource::Files(files(ObjectKind::Secret, "key")),
        ),
    ];
    for (mount, read_only, source) in cases {
        let path = mount["path"].as_str().unwrap().to_owned();
        let expected = AskedMount {
            index: 0,
            path,
            read_only,
            source,
        };
        assert_eq!(asked(&mount), Ok(expected));
    }
}

#[test]
fn an_item_has_the_mode_of_its_mount_unless_it_names_one() {
    let mount = json!({"path": "/key", "secret": {
        "secretName": "key", "defaultMode": 256, "optional": true,
        "items": [{"key": "crt", "path": "tls/crt"}, {"key": "crt", "path": "again", "mode": 0}],
    }});
    let AskedSource::Files(files) = asked(&mount).unwrap().source else {
        unreachable!("a secret has files")
    };
    let item = |path: &str, mode| AskedItem {
        key: "crt".to_owned(),
        path: path.to_owned(),
        mode,
    };
    assert_eq!(files.items, [item("tls/crt", 0o400), item("again", 0)]);
    assert_eq!((files.default_mode, files.optional), (0o400, true));
}

#[test]
fn the_request_names_the_mounts_of_secrets_alone() {
    let vm = vm(&json!([
        {"path": "/a", "secret": {"secretName": "a"}},
        {"path": "/b", "emptyDir": {}},
        {"path": "/c", "configMap": {"name": "c"}},
        {"path": "/d", "secret": {"secretName": "d"}},
    ]));
    let asked = vm.request().unwrap().secret_mounts;
    assert_eq!(asked, ["spec.mounts[0].secret", "spec.mounts[3].secret"]);
}

/// What the rules of the CRD can't say, or an object that has not passed them.
#[test]
fn a_mount_that_is_wrong_is_named_with_its_field() {
    let long = "n".repeat(256);
    let named = |path: &str| json!({"path": path, "emptyDir": {}});
    let items = |items: Value| json!({"path": "/c", "configMap": {"name": "c", "items": items}});
    let cases = [
        (
            named("work"),
            "spec.mounts[0].path: must be an absolute path",
        ),
        (
            named("/a/../b"),
            "spec.mounts[0].path: must be an absolute path",
        ),
        (named(""), "spec.mounts[0].path: must be an absolute path"),
        (
            named(&format!("/{long}")),
            "spec.mounts[0].path: holds a name of 256 bytes, at most 255 are allowed",
        ),
        (
            named(&"/abc".repeat(1_025)),
            "spec.mounts[0].path: has 4100 bytes, at most 4096 are allowed",
        ),
        (
            named(&"/a".repeat(65)),
            "spec.mounts[0].path: has 65 names, at most 64 are allowed",
        ),
        (
            items(json!([{"key": "k", "path": format!("{}a", "a/".repeat(64))}])),
            "spec.mounts[0].configMap.items[0].path: has 65 names, at most 64 are allowed",
        ),
        (
            json!({"path": "/a"}),
            "spec.mounts[0]: must name exactly one of",
        ),
        (
            json!({"path": "/a", "emptyDir": {}, "secret": {"secretName": "s"}}),
            "spec.mounts[0]: must name exactly one of",
        ),
        (
            json!({"path": "/a", "readOnly": false, "configMap": {"name": "c"}}),
            "spec.mounts[0].readOnly: is false",
        ),
        (
            json!({"path": "/a", "emptyDir": {"sizeLimit": "4Gi"}}),
            "spec.mounts[0].emptyDir.sizeLimit: asks for 4Gi, from 4Ki to 1Gi is allowed",
        ),
        (
            json!({"path": "/a", "emptyDir": {"sizeLimit": "much"}}),
            "spec.mounts[0].emptyDir.sizeLimit: \"much\" is not a quantity",
        ),
        (
            json!({"path": "/a", "configMap": {"name": "c", "defaultMode": 512}}),
            "spec.mounts[0].configMap.defaultMode: is 512, from 0 to 511 is allowed",
        ),
        (
            items(json!([{"key": "k", "path": "a", "mode": -1}])),
            "spec.mounts[0].configMap.items[0].mode: is -1",
        ),
        (
            items(json!([{"key": "k", "path": "/"}])),
            "spec.mounts[0].configMap.items[0].path: must be a relative path",
        ),
        (
            items(json!([{"key": "k", "path": "..data"}])),
            "spec.mounts[0].configMap.items[0].path: must not begin with ..",
        ),
        (
            items(json!([{"key": "k", "path": "a"}, {"key": "l", "path": "a"}])),
            "spec.mounts[0].configMap.items[0].path: \"a\" is the path of another item as well",
        ),
        (
            items(json!([{"key": "k", "path": "a/b"}, {"key": "l", "path": "a"}])),
            "spec.mounts[0].configMap.items[0].path: \"a/b\" lies below \"a\", which is a file of another item",
        ),
    ];
    for (mount, sentence) in cases {
        let said = asked(&mount).unwrap_err();
        assert!(said.starts_with(sentence), "{mount}: {said}");
    }
    let twice = vm(&json!([named("/a"), named("/a")]));
    assert_eq!(
        twice.mounts().unwrap_err().to_string(),
        "spec.mounts[1].path: \"/a\" is the path of spec.mounts[0] as well"
    );
}

#[test]
fn a21_k11_no_mount_names_a_path_of_the_host() {
    let host = [
        json!({"path": "/host", "hostPath": {"path": "/"}}),
        json!({"path": "/host", "emptyDir": {}, "hostPath": {"path": "/var/run"}}),
        json!({"path": "/host", "local": {"path": "/var/lib/agentvm"}}),
        json!({"path": "/host", "emptyDir": {"path": "/etc"}}),
        json!({"path": "/host", "configMap": {"name": "../../etc"}}),
        json!({"path": "/host", "configMap": {"name": "c", "items": [{"key": "../k", "path": "p"}]}}),
        json!({"path": "/host/../../etc", "emptyDir": {}}),
    ];
    for mount in host {
        let object = object(&json!([mount]));
        assert!(!validate(&object).is_empty(), "admission takes {mount}");
        // An agent reads an object that was written past the rules, by hand or by an older CRD.
        let read = serde_json::from_value::<AgentVM>(object);
        let decided = read.map_err(|error| error.to_string());
        let decided = decided.and_then(|vm| vm.mounts().map_err(|error| error.to_string()));
        assert!(decided.is_err(), "an agent takes {mount}");
    }
}

fn paths() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(/|\\.|\\.\\.|[a-c]{1,2}|\u{e9}){0,6}",
        1 => "/[ -~]{0,8}",
        1 => any::<String>(),
    ]
}

proptest! {
    #[test]
    fn the_rule_of_a_mounts_path_accepts_what_is_decided(path in paths()) {
        let mounts = json!([{"path": path, "emptyDir": {}}]);
        let accepted = validate(&object(&mounts)).is_empty();
        prop_assert_eq!(accepted, vm(&mounts).mounts().is_ok(), "{:?}", path);
    }

    #[test]
    fn the_rule_of_an_items_path_accepts_what_is_decided(path in paths()) {
        let mounts = json!([{"path": "/c", "configMap": {"name": "c", "items": [{"key": "k", "path": path}]}}]);
        let accepted = validate(&object(&mounts)).is_empty();
        prop_assert_eq!(accepted, vm(&mounts).mounts().is_ok(), "{:?}", path);
    }
}
