//! Mounts, by table.

use agentvm_crds::AgentVM;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use super::*;

const NAMESPACE: &str = "tenant-ns";

fn asked(mounts: &Value) -> Vec<AskedMount> {
    let vm: AgentVM = serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "heron"},
        "spec": {"image": "registry.example/heron", "mounts": mounts},
    }))
    .unwrap();
    vm.mounts().unwrap()
}

fn object(kind: ObjectKind, name: &str) -> Object {
    Object {
        kind,
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    }
}

fn values(all: &[(&str, &str)]) -> Content {
    let all = all
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
    Content::Found(all.collect())
}

fn map(content: Content) -> Contents {
    Contents::from([(object(ObjectKind::ConfigMap, "settings"), content)])
}

fn secret(content: Content) -> Contents {
    Contents::from([(object(ObjectKind::Secret, "token"), content)])
}

/// Path, mode and text of every file of the one mount.
fn files(mounts: &[Mount]) -> Vec<(String, u16, String)> {
    let [
        Mount {
            source:
                MountSource::Files {
                    sha256,
                    files: Some(files),
                },
            ..
        },
    ] = mounts
    else {
        panic!("not one mount of files: {mounts:?}");
    };
    assert_eq!(*sha256, digest(files));
    let text = |data: &[u8]| String::from_utf8(data.to_vec()).unwrap();
    files
        .iter()
        .map(|(path, file)| (path.clone(), file.mode, text(&file.data)))
        .collect()
}

fn file(path: &str, mode: u16, text: &str) -> (String, u16, String) {
    (path.to_owned(), mode, text.to_owned())
}

fn refused(mounts: &Value, contents: &Contents) -> (StartReason, String) {
    let problem = super::mounts(NAMESPACE, &asked(mounts), contents).unwrap_err();
    (problem.reason, problem.message)
}

#[test]
fn an_empty_directory_takes_its_limit_along() {
    let asked = asked(&json!([
        {"path": "/work", "emptyDir": {"sizeLimit": "1Mi"}},
        {"path": "/still", "readOnly": true, "emptyDir": {}},
    ]));
    let mounts = mounts(NAMESPACE, &asked, &Contents::new()).unwrap();
    let empty = |size_limit_bytes| MountSource::EmptyDir {
        size_limit_bytes,
        archive: None,
    };
    assert_eq!(mounts[0].source, empty(Some(1 << 20)));
    assert_eq!(
        (mounts[0].path.as_str(), mounts[0].read_only),
        ("/work", false)
    );
    assert_eq!(mounts[1].source, empty(None));
    assert!(mounts[1].read_only);
    assert_eq!(objects(NAMESPACE, &asked), BTreeSet::new());
}

#[test]
fn without_items_every_key_is_a_file_of_its_name() {
    let asked = asked(&json!([{"path": "/etc/app", "configMap": {"name": "settings"}}]));
    let contents = map(values(&[("b.conf", "2"), ("a.conf", "1")]));
    let mounts = mounts(NAMESPACE, &asked, &contents).unwrap();
    assert_eq!(
        files(&mounts),
        [file("a.conf", 0o644, "1"), file("b.conf", 0o644, "2")]
    );
    assert!(mounts[0].read_only);
    let named = objects(NAMESPACE, &asked);
    assert_eq!(
        named,
        BTreeSet::from([object(ObjectKind::ConfigMap, "settings")])
    );
}

#[test]
fn items_choose_keys_paths_and_modes() {
    let asked = asked(
        &json!([{"path": "/etc/app", "secret": {"secretName": "token",
        "defaultMode": 0o400, "items": [
        {"key": "a", "path": "tls/a.pem"}, {"key": "b", "path": "b", "mode": 0}]}}]),
    );
    let contents = secret(values(&[("a", "1"), ("b", "2"), ("c", "3")]));
    let mounts = mounts(NAMESPACE, &asked, &contents).unwrap();
    assert_eq!(
        files(&mounts),
        [file("b", 0, "2"), file("tls/a.pem", 0o400, "1")]
    );
}

#[test]
fn what_is_missing_is_named_with_its_field_and_tried_again() {
    let in_map = json!([{"path": "/work", "emptyDir": {}},
        {"path": "/etc/app", "configMap": {"name": "settings"}}]);
    for contents in [Contents::new(), map(Content::Missing)] {
        let (reason, message) = refused(&in_map, &contents);
        assert_eq!(reason, StartReason::Image(ImageReason::ConfigMapNotFound));
        assert!(!reason.is_final());
        assert_eq!(
            message,
            "spec.mounts[1].configMap.name: there is no ConfigMap settings in namespace tenant-ns; create it, or set optional"
        );
    }
    let in_secret = json!([{"path": "/etc/app", "secret": {"secretName": "token"}}]);
    let (reason, message) = refused(&in_secret, &secret(Content::Missing));
    assert_eq!(reason, StartReason::Image(ImageReason::SecretNotFound));
    assert!(
        message.starts_with("spec.mounts[0].secret.secretName: there is no Secret token"),
        "{message}"
    );
    let key = json!([{"path": "/etc/app", "configMap": {"name": "settings",
        "items": [{"key": "there", "path": "a"}, {"key": "not", "path": "b"}]}}]);
    let (reason, message) = refused(&key, &map(values(&[("there", "1"), ("else", "2")])));
    assert_eq!(reason, StartReason::Image(ImageReason::KeyNotFound));
    assert_eq!(
        message,
        "spec.mounts[0].configMap.items[1]: ConfigMap tenant-ns/settings has no key not, it has [\"else\", \"there\"]"
    );
}

#[test]
fn what_is_optional_may_be_missing() {
    let whole =
        asked(&json!([{"path": "/etc/app", "configMap": {"name": "settings", "optional": true}}]));
    let mounts_of =
        |asked: &[AskedMount], contents: &Contents| mounts(NAMESPACE, asked, contents).unwrap();
    assert_eq!(files(&mounts_of(&whole, &map(Content::Missing))), []);
    let key = asked(
        &json!([{"path": "/etc/app", "configMap": {"name": "settings", "optional": true,
        "items": [{"key": "there", "path": "a"}, {"key": "not", "path": "b"}]}}]),
    );
    let contents = map(values(&[("there", "1")]));
    assert_eq!(files(&mounts_of(&key, &contents)), [file("a", 0o644, "1")]);
}

#[test]
fn a_forbidden_secret_is_told_with_the_command_even_where_it_is_optional() {
    let forbidden = secret(Content::Forbidden("kubectl do it".to_owned()));
    for optional in [false, true] {
        let mounts =
            json!([{"path": "/etc/app", "secret": {"secretName": "token", "optional": optional}}]);
        let (reason, message) = refused(&mounts, &forbidden);
        assert_eq!(reason, StartReason::Image(ImageReason::SecretForbidden));
        assert!(!reason.is_final());
        assert!(message.contains("run `kubectl do it`"), "{message}");
        assert!(message.contains("Secret tenant-ns/token"), "{message}");
    }
}

#[test]
fn one_vm_is_not_given_more_than_a_request_can_carry() {
    let half = "x".repeat(MAX_FILE_BYTES / 2);
    let one = json!({"path": "/a", "configMap": {"name": "settings"}});
    let two = json!({"path": "/b", "configMap": {"name": "settings"}});
    let three = json!({"path": "/c", "configMap": {"name": "settings"}});
    let contents = map(values(&[("key", &half)]));
    assert!(mounts(NAMESPACE, &asked(&json!([one, two])), &contents).is_ok());
    let (reason, message) = refused(&json!([one, two, three]), &contents);
    assert_eq!(reason, StartReason::Image(ImageReason::StorageLimit));
    assert!(
        message.starts_with("spec.mounts[2].configMap: ") && message.contains("20Mi"),
        "{message}"
    );
}

#[test]
fn text_and_binary_of_a_config_map_are_both_mounted() {
    let map = ConfigMap {
        data: Some(BTreeMap::from([
            ("a".to_owned(), "text".to_owned()),
            ("both".to_owned(), "text".to_owned()),
        ])),
        binary_data: Some(BTreeMap::from([
            ("b".to_owned(), ByteString(vec![0, 159])),
            ("both".to_owned(), ByteString(vec![1])),
        ])),
        ..ConfigMap::default()
    };
    let values = Values::from(map);
    assert_eq!(values.keys().collect::<Vec<_>>(), ["a", "b", "both"]);
    assert_eq!(&*values["b"], [0, 159]);
    assert_eq!(&*values["both"], [1]);
}

#[test]
fn nothing_of_a_secret_is_in_what_is_printed() {
    let secret_object = Secret {
        data: Some(BTreeMap::from([(
            "k".to_owned(),
            ByteString(b"hunter2".to_vec()),
        )])),
        ..Secret::default()
    };
    let contents = secret(Content::Found(Values::from(secret_object)));
    let asked = asked(&json!([{"path": "/etc/app", "secret": {"secretName": "token"}}]));
    let mounts = mounts(NAMESPACE, &asked, &contents).unwrap();
    let shown = format!("{contents:?} {mounts:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("104, 117"),
        "{shown}"
    );
}

#[test]
fn a_run_has_the_mounts_that_are_asked_for_whatever_the_files_hold() {
    let manifest = |path: &str, limit: &str| {
        asked(&json!([{"path": "/work", "emptyDir": {"sizeLimit": limit}},
            {"path": path, "configMap": {"name": "settings"}}]))
    };
    let contents = map(values(&[("key", "1")]));
    let held = mounts(NAMESPACE, &manifest("/etc/app", "1Mi"), &contents).unwrap();
    let held: Vec<Mount> = held.iter().map(Mount::without_files).collect();
    assert!(are_as_asked(&held, &manifest("/etc/app", "1Mi")));
    assert!(!are_as_asked(&held, &manifest("/etc/other", "1Mi")));
    assert!(!are_as_asked(&held, &manifest("/etc/app", "2Mi")));
    assert!(!are_as_asked(&held[..1], &manifest("/etc/app", "1Mi")));
}
