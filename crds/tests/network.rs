//! `capabilities.network` at the border: what a manifest asks for, and what a policy rules.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests: a panic is the report"
)]

use agentvm_crds::agentvm::EffectiveStatus;
use agentvm_crds::{AgentPolicy, AgentPolicySpec, AgentVM, AgentVMSpec, rules_for};
use agentvm_policy::egress::RuleText;
use agentvm_policy::{Request, effective};
use serde_json::{Value, json};

fn vm(egress: &Value) -> AgentVM {
    let spec = json!({"image": "a", "capabilities": {"network": {"egress": egress}}});
    AgentVM::new("a", serde_json::from_value::<AgentVMSpec>(spec).unwrap())
}

fn policy(network: &Value) -> AgentPolicy {
    let spec = json!({"namespaceSelector": {}, "capabilities": {"network": network}});
    AgentPolicy::new(
        "team",
        serde_json::from_value::<AgentPolicySpec>(spec).unwrap(),
    )
}

/// One rule of a VM, with `change` over it.
fn rule(change: &Value) -> Value {
    let mut rule = json!({"host": "api.example.com", "methods": ["GET"], "paths": ["/v1/*"]});
    for (field, value) in change.as_object().into_iter().flatten() {
        rule[field] = value.clone();
    }
    rule
}

fn header(name: &str, secret: &str, key: &str) -> Value {
    json!({"header": name, "secretKeyRef": {"name": secret, "key": key}})
}

#[test]
fn rules_are_asked_for_in_the_order_of_the_manifest() {
    let vm = vm(&json!([
        rule(&json!({"ports": [443, 8443], "inject": [
            header("X-Key", "keys", "b"),
            {"header": "Authorization", "template": "Bearer {}", "secretKeyRef": {"name": "keys", "key": "a"}},
        ]})),
        rule(&json!({"host": "*.example.org", "scheme": "http"})),
    ]));
    let [first, second] = &vm.egress().unwrap()[..] else {
        unreachable!("two rules")
    };
    let templates = first.inject.iter().map(|header| header.template.as_str());
    assert_eq!(templates.collect::<Vec<_>>(), ["{}", "Bearer {}"]);
    assert_eq!(first.rule.ports, [443, 8443]);
    assert_eq!(second.rule.scheme.as_deref(), Some("http"));
    let asked = vm.request().unwrap().egress;
    assert_eq!(asked[0].rule, first.rule);
    assert_eq!(
        asked.iter().map(|ask| ask.injects).collect::<Vec<_>>(),
        [true, false]
    );
}

#[test]
fn every_key_that_rules_inject_is_named_once() {
    let vm = vm(&json!([
        rule(&json!({"inject": [header("A", "keys", "b"), header("B", "keys", "a")]})),
        rule(&json!({"inject": [header("A", "other", "a"), header("B", "keys", "a")]})),
    ]));
    let keys = vm.injected_secrets();
    let keys: Vec<_> = keys
        .iter()
        .map(|secret| (secret.name.as_str(), secret.key.as_str()))
        .collect();
    assert_eq!(keys, [("keys", "a"), ("keys", "b"), ("other", "a")]);
    assert!(AgentVM::default().injected_secrets().is_empty());
}

#[test]
fn f32_what_lets_nothing_through_asks_for_nothing() {
    for network in [json!({}), json!({"egress": []}), json!(null)] {
        let spec = json!({"image": "a", "capabilities": {"network": network}});
        let vm = AgentVM::new("a", serde_json::from_value::<AgentVMSpec>(spec).unwrap());
        assert_eq!(vm.request().unwrap(), Request::default(), "{network}");
    }
}

#[test]
fn f32_a_rule_that_cannot_be_read_makes_the_whole_object_invalid() {
    let cases = [
        (
            json!({"host": "0x7f.1"}),
            "[1].host: the host \"0x7f.1\" ends in a number",
        ),
        (
            json!({"host": "localhost"}),
            "[1].host: the host \"localhost\" has one label",
        ),
        (
            json!({"host": "10.20.0.1/16"}),
            "[1].host: \"10.20.0.1/16\" has bits behind its prefix",
        ),
        (
            json!({"methods": ["*", "GET"]}),
            "[1].methods: \"*\" is none of",
        ),
        (json!({"methods": []}), "[1].methods: it is empty"),
        (
            json!({"paths": ["/a", "/v1/%2e%2e/admin"]}),
            "[1].paths[1]: ",
        ),
        (
            json!({"paths": ["/v1/*x"]}),
            "[1].paths[0]: \"/v1/*x\" has a *",
        ),
        (json!({"ports": [0]}), "[1].ports: 0 is no port"),
        (
            json!({"ports": vec![1; 17]}),
            "[1].ports: has 17 entries, and 16 are allowed",
        ),
        (json!({"scheme": "ftp"}), "[1].scheme: \"ftp\" is neither"),
        (
            json!({"host": "*.example.com", "inject": [header("A", "k", "t")]}),
            "[1].inject: a key goes to one host",
        ),
        (
            json!({"inject": [header("A", "k", "t"), header("a", "k", "t")]}),
            "[1].inject[1].header: \"a\" stands in the list already",
        ),
        (
            json!({"inject": [{"header": "A", "template": "{}{}", "secretKeyRef": {"name": "k", "key": "t"}}]}),
            "[1].inject[0].template: must have {} once",
        ),
    ];
    for (change, said) in cases {
        let error = vm(&json!([rule(&json!({})), rule(&change)])).request();
        let error = error.unwrap_err().to_string();
        let expected = format!("spec.capabilities.network.egress{said}");
        assert!(error.starts_with(&expected), "{change}: {error}");
    }
}

#[test]
fn a_policy_without_the_capability_and_one_without_rules_are_not_the_same() {
    let silent = AgentPolicy::new("silent", AgentPolicySpec::default());
    assert_eq!(silent.rules().unwrap().egress, None);
    assert_eq!(policy(&json!({})).rules().unwrap().egress, Some(Vec::new()));
    let rules = policy(&json!({
        "egress": [{"host": "*", "methods": ["*"], "paths": ["*"]}],
        "networks": ["10.20.0.0/16"],
    }));
    let rules = rules.rules().unwrap();
    assert_eq!(rules.egress, Some(vec![RuleText::new("*", &["*"], &["*"])]));
    assert_eq!(rules.networks, ["10.20.0.0/16".parse().unwrap()]);
}

#[test]
fn f05_a_policy_whose_network_is_not_private_is_refused_with_its_vms() {
    for network in [
        "0.0.0.0/0",
        "127.0.0.0/8",
        "169.254.169.254",
        "10.0.0.0/7",
        "10.0.0.1/8",
        "::/0",
        "nowhere",
    ] {
        let policy = policy(&json!({"networks": ["10.1.0.0/16", network]}));
        let error = rules_for([&policy], &[].into()).unwrap_err().to_string();
        let field = "AgentPolicy \"team\" spec.capabilities.network.networks[1]: ";
        assert!(error.starts_with(field), "{network}: {error}");
    }
    let broken = policy(&json!({"egress": [{"host": "a..b", "methods": ["GET"], "paths": ["*"]}]}));
    let error = broken.rules().unwrap_err().to_string();
    assert!(
        error.starts_with("spec.capabilities.network.egress[0].host: "),
        "{error}"
    );
}

#[test]
fn h07_the_status_shows_a_bounded_line_for_each_rule() {
    let shown = |rules: usize, path: &str| {
        let rules: Vec<Value> = (0..rules)
            .map(|number| rule(&json!({"host": format!("a{number}.example.com"), "paths": [path]})))
            .collect();
        let wide = policy(&json!({"egress": [{"host": "*", "methods": ["*"], "paths": ["*"]}]}));
        let verdict = effective(
            &vm(&json!(rules)).request().unwrap(),
            &[wide.rules().unwrap()],
        );
        assert_eq!(verdict.refused, []);
        EffectiveStatus::from(&verdict).egress
    };
    assert_eq!(
        shown(2, "/v1/*"),
        [
            "GET https://a0.example.com:443 /v1/*",
            "GET https://a1.example.com:443 /v1/*"
        ]
    );
    assert_eq!(shown(8, "/").len(), 8);
    let many = shown(32, &format!("/{}", "a".repeat(1_000)));
    assert_eq!(many.len(), 8);
    assert_eq!(many.last().map(String::as_str), Some("and 25 more"));
    assert!(many.iter().all(|line| line.chars().count() <= 96));
}
