//! C11: whatever a manifest holds, reading it ends with a value or with an error, soon, and never with
//! a panic.

use std::time::{Duration, Instant};

use agentvm_crds::validate::{validate, validate_update};
use agentvm_crds::{AgentPolicy, AgentVM, duration, quantity, rules_for};
use agentvm_policy::effective;
use proptest::prelude::*;
use serde_json::{Value, json};

/// How long one manifest of a megabyte may take to be read, in a build without optimisation on a busy
/// machine.
const SOON: Duration = Duration::from_secs(3);

/// What has broken parsers before: of numbers, of units, of text, and of what is deep.
const NASTY: [&str; 40] = [
    "",
    " ",
    "-",
    "+",
    ".",
    "-.",
    "0",
    "-0",
    "00",
    "1e",
    "1e1000000000",
    "1E-1000000000",
    "1e+-5",
    "1e9223372036854775808",
    "0x10",
    "1_000",
    "NaN",
    "inf",
    "-inf",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "340282366920938463463374607431768211456",
    "-1",
    "-1Mi",
    "1mi",
    "1Ki1",
    "1 Mi",
    "1\u{0}Mi",
    "١٢٣Mi",
    "1\u{fe0f}",
    "ℵ₀",
    "\u{202e}1Mi",
    "𝟏Mi",
    "1h1h",
    "1h-1m",
    "1.5.5s",
    "µs",
    "{{1}}",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(&NASTY[..]).prop_map(str::to_owned),
        3 => "[-+]?[0-9]{0,40}[.]?[0-9]{0,40}([eE][-+]?[0-9]{0,12})?[a-zA-Zµ]{0,3}",
        2 => any::<String>(),
        1 => (0_usize..5_000, prop::sample::select(&NASTY[..])).prop_map(|(times, of)| of.repeat(times)),
    ]
}

/// A value of any kind, with names that the API knows as well.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 6, |inner| {
        let name = prop_oneof![
            prop::sample::select(&["memory", "cpu", "path", "host", "key", "name", "secret"][..])
                .prop_map(str::to_owned),
            text(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn whole_vm() -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1",
        "kind": "AgentVM",
        "metadata": {"name": "vm-a", "namespace": "team-a"},
        "spec": {
            "image": "registry.example/a:1",
            "args": ["one"],
            "env": [{"name": "A", "value": "b"}],
            "limits": {"memory": "64Mi", "cpu": "250m", "fuel": "5G", "timeout": "1h", "logRate": "1Mi",
                "logTotal": "1Gi", "storage": "1Mi", "inodes": 10, "openFiles": 10},
            "mounts": [{"path": "/work", "emptyDir": {"sizeLimit": "1Mi"}},
                {"path": "/config", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}],
            "capabilities": {"clock": {"resolution": "1us"}, "network": {"egress": [
                {"host": "api.example.com", "methods": ["GET"], "paths": ["/v1/*"], "ports": [443]}]}},
            "restartPolicy": "Never",
            "terminationGracePeriod": "2s",
            "ttlAfterFinished": "1m",
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "nodeSelector": {"a": "b"},
            "suspend": false,
        },
        "status": {"assignment": {"nodeName": "n", "epoch": 1, "claimed": {"memory": "64Mi", "cpu": "1"}}},
    })
}

fn whole_policy() -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1",
        "kind": "AgentPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "mode": "Enforce",
            "namespaceSelector": {"matchLabels": {"a": "b"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
            "limits": {"memory": "64Mi", "cpu": "250m"},
            "capabilities": {"clock": {"minResolution": "1us"}, "network": {
                "egress": [{"host": "*.example.com", "methods": ["GET"], "paths": ["/*"]}],
                "networks": ["10.20.0.0/16"]}},
        },
    })
}

/// Every place of a value, as JSON pointers.
fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    all.push(at.to_owned());
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                places(
                    value,
                    &format!("{at}/{}", name.replace('~', "~0").replace('/', "~1")),
                    all,
                );
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                places(value, &format!("{at}/{index}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// `whole`, with other values in some places.
fn changed(whole: fn() -> Value) -> impl Strategy<Value = Value> {
    let mut all = Vec::new();
    places(&whole(), "", &mut all);
    prop::collection::vec((prop::sample::select(all), value()), 1..4).prop_map(move |changes| {
        let mut object = whole();
        for (place, value) in changes {
            if let Some(found) = object.pointer_mut(&place) {
                *found = value;
            }
        }
        object
    })
}

/// Everything that operator, agent and command make of a VM's object.
fn read_vm(object: &Value, rules: &[agentvm_policy::PolicyRules]) {
    let _ = validate(object);
    let _ = validate_update(object, &whole_vm());
    let _ = validate_update(&whole_vm(), object);
    let Ok(vm) = serde_json::from_value::<AgentVM>(object.clone()) else {
        return;
    };
    let _ = (
        vm.source(),
        vm.grace_period(),
        vm.ttl(),
        vm.phase(),
        vm.assignment(),
    );
    if let Ok(request) = vm.request() {
        let _ = effective(&request, rules);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn c11_no_text_makes_a_quantity_or_a_duration_panic(text in text()) {
        let _ = (quantity::whole(&text), quantity::milli(&text));
        let _ = (duration::nanoseconds(&text), duration::milliseconds(&text));
    }

    #[test]
    fn c11_no_manifest_of_a_vm_makes_its_readers_panic(object in changed(whole_vm)) {
        read_vm(&object, &[]);
    }

    #[test]
    fn c11_no_policy_makes_its_readers_panic(object in changed(whole_policy)) {
        let _ = validate(&object);
        if let Ok(policy) = serde_json::from_value::<AgentPolicy>(object) {
            let labels = [("a".to_owned(), "b".to_owned())].into();
            if let Ok(rules) = rules_for(&[policy], &labels) {
                read_vm(&whole_vm(), &rules);
            }
        }
    }

    #[test]
    fn c11_no_bytes_make_the_readers_of_json_and_yaml_panic(
        text in prop_oneof![any::<String>(), value().prop_map(|value| value.to_string())],
        cut in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = format!("{}{text}", whole_vm()).into_bytes();
        let at = cut.index(bytes.len());
        if let Some(found) = bytes.get_mut(at) {
            *found = byte;
        }
        for bytes in [&bytes[..], &bytes[..at], text.as_bytes()] {
            let _ = serde_json::from_slice::<AgentVM>(bytes);
            let _ = serde_yaml::from_slice::<Value>(bytes);
        }
    }
}

#[test]
fn c11_what_is_deep_long_or_repeated_ends_soon() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let bomb = {
        let levels = (1..20).map(|level| {
            let alias = format!("*a{},", level - 1).repeat(9);
            format!("a{level}: &a{level} [{alias}]\n")
        });
        "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned() + &levels.collect::<String>()
    };
    soon("what is deep", || {
        assert!(serde_json::from_str::<AgentVM>(&deep).is_err());
        assert!(serde_json::from_str::<Value>(&deep).is_err());
        assert!(serde_yaml::from_str::<Value>(&deep).is_err());
    });
    soon("what is repeated", || {
        assert!(serde_yaml::from_str::<Value>(&bomb).is_err());
    });
    for digit in ["9", "0", ".", "e", "١", "-"] {
        let long = digit.repeat(1 << 20);
        soon("a long number", || {
            assert!(quantity::whole(&long).is_err() && quantity::milli(&long).is_err());
            assert!(duration::nanoseconds(&long).is_err());
        });
    }
    for place in [
        "/spec/limits/memory",
        "/spec/mounts/0/path",
        "/spec/image",
        "/spec/nodeSelector/a",
        "/spec/capabilities/network/egress/0/host",
        "/spec/capabilities/network/egress/0/paths/0",
    ] {
        let mut object = whole_vm();
        *object.pointer_mut(place).unwrap() = json!("9.".repeat(1 << 19));
        soon(place, || {
            assert!(!validate(&object).is_empty(), "{place}");
            read_vm(&object, &[]);
        });
    }
}

fn soon(what: &str, read: impl FnOnce()) {
    let started = Instant::now();
    read();
    let took = started.elapsed();
    assert!(took < SOON, "{what}: {took:?}");
}
