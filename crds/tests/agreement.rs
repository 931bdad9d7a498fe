//! Laws between the rules of the CRDs and the parsers behind them: what the one accepts the
//! other can read, and the decision that follows refuses nothing for its form.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
use agentvm_crds::validate::validate;
use agentvm_crds::{AgentVM, duration, quantity};
use agentvm_policy::egress::Rule;
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

/// Hosts, networks and what looks like them.
fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "([*][.])?[A-Za-z0-9_-]{1,5}([.][a-z0-9-]{1,5}){0,3}[.]?",
        2 => "[0-9]{1,3}([.][0-9]{1,3}){3}(/[0-9]{1,3})?",
        2 => "[0-9a-f]{0,4}(:[0-9a-f]{0,4}){1,7}(/[0-9]{1,3})?",
        1 => "[*.:/@a-z0-9\\[\\]]{0,8}",
        1 => "[ -~]{0,8}",
    ]
}

fn paths() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(/[a-z0-9*.%;=~-]{0,5}){1,4}",
        1 => "[*/a-z?#]{0,5}",
        1 => "[ -~]{0,8}",
    ]
}

/// Headers of which the gateway can make one, as it judges a name and a template itself.
fn is_header(name: &str, template: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty()
        && name.chars().all(token)
        && template.matches("{}").count() == 1
        && template.chars().all(|c| (' '..='~').contains(&c))
}

fn asking(rule: &Value) -> Value {
    json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM", "metadata": {"name": "a"},
        "spec": {"image": "a", "capabilities": {"network": {"egress": [rule]}}},
    })
}

proptest! {
    #[test]
    fn f32_the_rules_of_the_network_refuse_nothing_that_the_parser_reads(
        host in hosts(),
        path in paths(),
        scheme in proptest::sample::select(vec!["http", "https", "HTTPS", ""]),
        port in 0_u32..70_000,
    ) {
        let rule = json!({
            "host": host, "scheme": scheme, "ports": [port], "methods": ["GET"], "paths": [path],
        });
        let manifest = asking(&rule);
        let accepted = validate(&manifest).is_empty();
        let read = serde_json::from_value::<AgentVM>(manifest).is_ok_and(|vm| vm.egress().is_ok());
        // No request has a #, so that a path with one allows nothing.
        let useless = path.contains('#');
        prop_assert!(accepted || !read || useless, "{} is refused, and can be read", rule);
    }

    #[test]
    fn f11_a_header_that_the_rules_accept_is_one(name in "[ -~]{0,8}", template in "[ -~\\n]{0,4}([{][}]){0,2}[ -~]{0,3}") {
        let header = json!({"header": name, "template": template, "secretKeyRef": {"name": "k", "key": "t"}});
        let rule = json!({"host": "api.example.com", "methods": ["GET"], "paths": ["*"], "inject": [header]});
        let accepted = validate(&asking(&rule)).is_empty();
        prop_assert!(!accepted || is_header(&name, &template), "{}", header);
    }

    #[test]
    fn h02_a_key_that_the_rules_accept_goes_to_one_host_by_tls_or_nowhere(host in hosts(), scheme in proptest::option::of(proptest::sample::select(vec!["http", "https"]))) {
        let mut rule = json!({"host": host, "methods": ["GET"], "paths": ["*"], "inject": [
            {"header": "Authorization", "secretKeyRef": {"name": "k", "key": "t"}}]});
        if let Some(scheme) = scheme {
            rule.as_object_mut().unwrap().insert("scheme".to_owned(), json!(scheme));
        }
        let vm: AgentVM = serde_json::from_value(asking(&rule)).unwrap();
        if let Ok(asked) = vm.egress() {
            prop_assert!(asked.iter().all(|asked| Rule::parse(&asked.rule).unwrap().is_one_origin()));
            prop_assert!(validate(&asking(&rule)).is_empty(), "{}", rule);
        }
    }

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
