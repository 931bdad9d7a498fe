//! What a manifest says, as the types that decisions are made on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use agentvm_crds::agentvm::{Capabilities, ClockCapability, EffectiveStatus, LimitsSpec, Quantity};
use agentvm_crds::{AgentPolicy, AgentVM, AgentVMSpec, Source, rules_for};
use agentvm_policy::{LimitField, LimitRequest, Mode, effective};
use serde_json::json;

fn vm(spec: AgentVMSpec) -> AgentVM {
    AgentVM::new("vm-a", spec)
}

fn limits(limits: LimitsSpec) -> AgentVM {
    vm(AgentVMSpec {
        limits: Some(limits),
        ..AgentVMSpec::default()
    })
}

fn quantity(text: &str) -> Quantity {
    Quantity(text.to_owned())
}

fn policy(name: &str, spec: serde_json::Value) -> AgentPolicy {
    let mut policy = AgentPolicy::new(name, serde_json::from_value(spec).unwrap());
    policy.metadata.name = Some(name.to_owned());
    policy
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn a_manifest_asks_in_plain_numbers() {
    let spec: AgentVMSpec = serde_json::from_value(json!({
        "image": "registry.example/agent:1",
        "limits": {"memory": 67_108_864, "cpu": "250m", "fuel": "5G", "timeout": "1h30m", "logRate": "64Ki",
            "logTotal": "2Gi", "storage": "16Mi", "inodes": "1k", "openFiles": 64,
            "connections": 4, "egress": "1Mi", "egressRate": "2Ki"},
        "capabilities": {"clock": {"resolution": "1us"}},
    }))
    .unwrap();
    let request = vm(spec).request().unwrap();
    assert_eq!(
        request.limits,
        LimitRequest {
            memory_bytes: Some(64 << 20),
            cpu_millicores: Some(250),
            fuel: Some(5_000_000_000),
            timeout_ms: Some(5_400_000),
            log_rate_bytes_per_second: Some(64 << 10),
            log_total_bytes: Some(2 << 30),
            storage_bytes: Some(16 << 20),
            inodes: Some(1_000),
            open_files: Some(64),
            connections: Some(4),
            egress_bytes: Some(1 << 20),
            egress_bytes_per_second: Some(2 << 10),
        }
    );
    assert_eq!(request.clock_resolution_ns, Some(1_000));
}

#[test]
fn a_limit_has_one_name_in_manifests_and_on_the_wire() {
    for field in LimitField::ALL {
        let wire = serde_json::to_value(field).unwrap();
        assert_eq!(wire, field.name());
        assert_eq!(serde_json::from_value::<LimitField>(wire).unwrap(), field);
    }
}

#[test]
fn a_bad_value_is_named_with_its_path_and_what_is_allowed() {
    let bad = |spec: AgentVM| spec.request().unwrap_err().to_string();
    let clock = Capabilities {
        network: None,
        clock: Some(ClockCapability {
            resolution: "fast".to_owned(),
        }),
    };
    let cases = [
        (
            bad(limits(LimitsSpec {
                memory: Some(quantity("64MB")),
                ..LimitsSpec::default()
            })),
            "spec.limits.memory: \"64MB\" is not a quantity, write a number with a suffix such as 64Mi, 250m or 5G",
        ),
        (
            bad(limits(LimitsSpec {
                cpu: Some(quantity("-1")),
                ..LimitsSpec::default()
            })),
            "spec.limits.cpu: \"-1\" is negative, only values above zero are allowed",
        ),
        (
            bad(limits(LimitsSpec {
                timeout: Some("5 minutes".to_owned()),
                ..LimitsSpec::default()
            })),
            "spec.limits.timeout: \"5 minutes\" is not a duration, write whole numbers with a unit, largest first, such as 30s, 1h30m or 100ms",
        ),
        (
            bad(vm(AgentVMSpec {
                capabilities: Some(clock),
                ..AgentVMSpec::default()
            })),
            "spec.capabilities.clock.resolution: \"fast\" is not a duration, write whole numbers with a unit, largest first, such as 30s, 1h30m or 100ms",
        ),
    ];
    for (got, expected) in cases {
        assert_eq!(got, expected);
    }
}

#[test]
fn grace_and_ttl_have_defaults_and_bounds() {
    let plain = vm(AgentVMSpec::default());
    assert_eq!(
        (plain.grace_period().unwrap(), plain.ttl().unwrap()),
        (Duration::from_secs(10), None)
    );
    let named = vm(AgentVMSpec {
        termination_grace_period: Some("0s".to_owned()),
        ttl_after_finished: Some("1h".to_owned()),
        ..AgentVMSpec::default()
    });
    assert_eq!(named.grace_period().unwrap(), Duration::ZERO);
    assert_eq!(named.ttl().unwrap(), Some(Duration::from_hours(1)));
    let long = vm(AgentVMSpec {
        termination_grace_period: Some("2h".to_owned()),
        ..AgentVMSpec::default()
    });
    assert_eq!(
        long.grace_period().unwrap_err().to_string(),
        "spec.terminationGracePeriod: asks for 2h, the longest is 1h"
    );
}

#[test]
fn a_module_has_exactly_one_source() {
    let spec = |value| vm(serde_json::from_value(value).unwrap());
    let image = spec(json!({"image": "a"}));
    let module = spec(json!({"module": {"configMap": {"name": "m", "key": "k"}}}));
    let both = spec(json!({"image": "a", "module": {"configMap": {"name": "m", "key": "k"}}}));
    assert_eq!(image.source().unwrap(), Source::Image("a"));
    assert!(
        matches!(module.source().unwrap(), Source::ConfigMap(reference) if reference.name == "m")
    );
    assert!(
        both.source()
            .unwrap_err()
            .to_string()
            .contains("both image and module")
    );
    assert!(
        spec(json!({}))
            .source()
            .unwrap_err()
            .to_string()
            .contains("neither image nor module")
    );
}

#[test]
fn a_policy_rules_in_plain_numbers() {
    let rules = policy(
        "tight",
        json!({
            "namespaceSelector": {},
            "mode": "Audit",
            "limits": {"max": {"memory": "64Mi"}, "default": {"timeout": "10m"}},
            "capabilities": {"clock": {"minResolution": "1us"}, "secretMounts": {}},
        }),
    )
    .rules()
    .unwrap();
    assert_eq!((rules.name.as_str(), rules.mode), ("tight", Mode::Audit));
    assert_eq!(
        (rules.max.memory_bytes, rules.default.timeout_ms),
        (Some(64 << 20), Some(600_000))
    );
    assert_eq!(rules.clock_min_resolution_ns, Some(1_000));
    assert!(rules.secret_mounts);
    for silent in [
        json!({"namespaceSelector": {}}),
        json!({"namespaceSelector": {}, "capabilities": {}}),
    ] {
        assert!(!policy("silent", silent).rules().unwrap().secret_mounts);
    }
}

#[test]
fn a_policy_selects_namespaces_as_kubernetes_does() {
    let expression = |operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": "tier", "operator": operator, "values": values}]});
    let cases = [
        (json!({}), labels(&[]), true),
        (
            json!({"matchLabels": {"tier": "gold"}}),
            labels(&[("tier", "gold"), ("x", "y")]),
            true,
        ),
        (
            json!({"matchLabels": {"tier": "gold"}}),
            labels(&[("tier", "lead")]),
            false,
        ),
        (json!({"matchLabels": {"tier": "gold"}}), labels(&[]), false),
        (
            expression("In", &["gold", "lead"]),
            labels(&[("tier", "lead")]),
            true,
        ),
        (expression("In", &["gold"]), labels(&[]), false),
        (expression("NotIn", &["gold"]), labels(&[]), true),
        (
            expression("NotIn", &["gold"]),
            labels(&[("tier", "gold")]),
            false,
        ),
        (expression("Exists", &[]), labels(&[("tier", "")]), true),
        (
            expression("DoesNotExist", &[]),
            labels(&[("tier", "")]),
            false,
        ),
        (expression("Newer", &[]), labels(&[]), true),
    ];
    for (selector, labels, expected) in cases {
        let policy = policy("p", json!({ "namespaceSelector": selector }));
        assert_eq!(
            policy.selects(&labels),
            expected,
            "{selector} against {labels:?}"
        );
    }
}

#[test]
fn a_policy_that_cannot_be_read_is_an_error_and_not_a_gap() {
    let broken = policy(
        "broken",
        json!({"namespaceSelector": {}, "limits": {"max": {"memory": "lots"}}}),
    );
    let elsewhere = policy(
        "elsewhere",
        json!({"namespaceSelector": {"matchLabels": {"a": "b"}}}),
    );
    let error = rules_for([&elsewhere, &broken], &labels(&[]))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with(
            "AgentPolicy \"broken\" spec.limits.max.memory: \"lots\" is not a quantity"
        ),
        "{error}"
    );
    assert_eq!(rules_for([&elsewhere], &labels(&[])).unwrap().len(), 0);
}

#[test]
fn the_effective_limits_are_shown_as_users_write_them() {
    let verdict = effective(&vm(AgentVMSpec::default()).request().unwrap(), &[]);
    let shown = serde_json::to_value(EffectiveStatus::from(&verdict)).unwrap();
    assert_eq!(
        shown,
        json!({"limits": {"memory": "64Mi", "cpu": "250m", "logRate": "64Ki", "logTotal": "1Gi", "storage": "64Mi", "inodes": "16384", "openFiles": "128",
            "connections": "32", "egress": "100Mi", "egressRate": "10Mi"}})
    );
}

#[test]
fn a_refused_vm_shows_no_limits_and_the_sentence() {
    let asked = limits(LimitsSpec {
        memory: Some(quantity("2Gi")),
        ..LimitsSpec::default()
    })
    .request()
    .unwrap();
    let shown = serde_json::to_value(EffectiveStatus::from(&effective(&asked, &[]))).unwrap();
    let sentence = "spec.limits.memory asks for 2Gi, the largest value is 1Gi";
    assert_eq!(shown, json!({"refused": [sentence]}));
}
