//! Laws between the rules of the CRDs and the parsers behind them: what the one accepts the
//! other can read, and the decision that follows refuses nothing for its form.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use agentvm_crds::validate::validate;
use agentvm_crds::{AgentVM, duration, quantity};
use agentvm_policy::{LimitField, effective};
use proptest::prelude::*;
use serde_json::{Value, json};

fn vm(limits: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "a"},
        "spec": {"image": "a", "limits": limits},
    })
}

fn within(field: LimitField, value: u64) -> bool {
    (field.min()..=field.max()).contains(&value)
}

/// Whether the decision takes what the rules accepted.
fn is_decided(manifest: Value) -> bool {
    let vm: AgentVM = serde_json::from_value(manifest).unwrap();
    vm.request()
        .is_ok_and(|request| effective(&request, &[]).refused.is_empty())
}

fn quantities() -> impl Strategy<Value = String> {
    let suffix = proptest::sample::select(vec![
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "e3", "E2", "e-2",
        "B", "MB", "i",
    ]);
    prop_oneof![
        8 => ("[+-]?[0-9]{0,6}(\\.[0-9]{0,3})?", suffix).prop_map(|(number, suffix)| format!("{number}{suffix}")),
        1 => "[ -~]{0,8}",
    ]
}

fn durations() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "([0-9]{1,3}h)?([0-9]{1,4}m)?([0-9]{1,5}s)?([0-9]{1,6}ms)?",
        2 => "([0-9]{1,3}(h|m|s|ms|us|d)){1,3}",
        1 => "[ -~]{0,8}",
    ]
}

proptest! {
    #[test]
    fn the_rule_of_memory_accepts_what_the_parser_reads_within_the_bounds(text in quantities()) {
        let manifest = vm(&json!({"memory": text}));
        let accepted = validate(&manifest).is_empty();
        let read = quantity::whole(&text).is_ok_and(|value| within(LimitField::Memory, value));
        prop_assert_eq!(accepted, read, "{}", text);
        prop_assert!(!accepted || is_decided(manifest));
    }

    #[test]
    fn the_rule_of_cpu_accepts_what_the_parser_reads_within_the_bounds(text in quantities()) {
        let manifest = vm(&json!({"cpu": text}));
        let accepted = validate(&manifest).is_empty();
        let read = quantity::milli(&text).is_ok_and(|value| within(LimitField::Cpu, value));
        prop_assert!(!accepted || read && is_decided(manifest), "{} is accepted and can't be read", text);
    }

    #[test]
    fn the_rule_of_timeout_accepts_what_the_parser_reads_within_the_bounds(text in durations()) {
        let manifest = vm(&json!({"timeout": text}));
        let accepted = validate(&manifest).is_empty();
        let read = duration::milliseconds(&text).is_ok_and(|value| within(LimitField::Timeout, value));
        let finer = text.contains("us") || text.contains("ns");
        prop_assert!(accepted == read || finer && !accepted, "{}", text);
        prop_assert!(!accepted || is_decided(manifest));
    }

    #[test]
    fn whole_numbers_are_quantities(value in any::<i64>()) {
        let accepted = validate(&vm(&json!({"memory": value}))).is_empty();
        let read = u64::try_from(value).is_ok_and(|value| within(LimitField::Memory, value));
        prop_assert_eq!(accepted, read);
    }

    #[test]
    fn what_the_decision_shows_is_read_back(values in proptest::collection::vec(any::<u64>(), LimitField::ALL.len())) {
        for (field, value) in LimitField::ALL.into_iter().zip(values) {
            let value = value % field.max() + 1;
            let shown = field.show(value);
            let read = match field {
                LimitField::Cpu => quantity::milli(&shown).unwrap(),
                LimitField::Timeout => duration::milliseconds(&shown).unwrap(),
                LimitField::Memory | LimitField::Fuel | LimitField::LogRate | LimitField::LogTotal
                | LimitField::Storage
                | LimitField::Inodes | LimitField::OpenFiles | LimitField::Connections
                | LimitField::Egress | LimitField::EgressRate => quantity::whole(&shown).unwrap(),
            };
            prop_assert_eq!(read, value, "{}", shown);
        }
    }

    #[test]
    fn k01_no_document_makes_the_validation_panic(document in documents()) {
        let _ = validate(&document);
        let nested = json!({
            "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": document, "spec": document, "status": document,
        });
        let _ = validate(&nested);
        let _ = validate(&vm(&document));
    }
}

/// Any JSON, with the API's own names among the keys.
fn documents() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        4 => proptest::sample::select(vec![
            "image", "module", "configMap", "args", "env", "name", "value", "valueFrom", "limits", "memory", "timeout",
            "capabilities", "clock", "resolution", "network", "egress", "host", "methods", "paths", "inject", "header", "template", "secretKeyRef", "nodeSelector", "tolerations", "status", "conditions", "type",
        ]).prop_map(str::to_owned),
        1 => "[a-z]{1,4}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(key.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
