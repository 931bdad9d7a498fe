//! What is refused, and what a VM counts for.

use std::sync::Arc;

use agentvm_crds::AgentVM;
use agentvm_crds::conditions::AcceptedReason;
use agentvm_policy::egress::RuleText;
use agentvm_policy::{LimitRequest, Mode, PolicyRules};
use serde_json::{Value, json};

use super::{Validated, resources, validate};
use crate::decoded::Decoded;
use crate::dereference::Dereferenced;
use crate::world::{Holding, Key};

const MIB: u64 = 1 << 20;

fn vm(spec: &Value) -> Decoded<AgentVM> {
    serde_json::from_value(json!({
        "apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentVM",
        "metadata": {"name": "crawler", "namespace": "lab"}, "spec": spec,
    }))
    .unwrap()
}

fn object(spec: &Value, policies: Vec<PolicyRules>) -> Dereferenced {
    Dereferenced {
        vm: Arc::new(vm(spec).0.unwrap()),
        key: Key {
            namespace: "lab".into(),
            name: "crawler".into(),
        },
        policies: Ok(policies),
        standing: None,
        evict: None,
        holding: Holding::default(),
    }
}

fn ceiling(memory_mib: u64, mode: Mode) -> PolicyRules {
    PolicyRules {
        name: "cap".into(),
        mode,
        max: LimitRequest {
            memory_bytes: Some(memory_mib * MIB),
            ..LimitRequest::default()
        },
        ..PolicyRules::default()
    }
}

fn refusal(validated: Validated) -> (AcceptedReason, String) {
    match validated {
        Validated::Refused {
            reason, message, ..
        } => (reason, message),
        Validated::Accepted { .. } => panic!("accepted"),
    }
}

#[test]
fn a_spec_that_cannot_be_read_is_invalid_and_names_its_field() {
    let cases = [
        (json!({}), "spec: names neither image nor module"),
        (
            json!({"image": "r/a", "module": {"configMap": {"name": "m", "key": "k"}}}),
            "spec: names both image and module",
        ),
        (
            json!({"image": "r/a", "limits": {"memory": "-5Mi"}}),
            "spec.limits.memory: ",
        ),
        (
            json!({"image": "r/a", "limits": {"timeout": "soon"}}),
            "spec.limits.timeout: ",
        ),
        (
            json!({"image": "r/a", "terminationGracePeriod": "1e9h"}),
            "spec.terminationGracePeriod: ",
        ),
        (
            json!({"image": "r/a", "ttlAfterFinished": ""}),
            "spec.ttlAfterFinished: ",
        ),
        (
            json!({"image": "r/a", "mounts": [{"path": "../etc", "emptyDir": {}}]}),
            "spec.mounts[0].path: ",
        ),
        (
            json!({"image": "r/a", "limits": {"inodes": "many"}}),
            "spec.limits.inodes: ",
        ),
    ];
    for (spec, start) in cases {
        let (reason, message) = refusal(validate(&object(&spec, vec![])));
        assert_eq!(reason, AcceptedReason::InvalidSpec, "{spec}");
        assert!(message.starts_with(start), "{spec}: {message}");
    }
}

#[test]
fn a_request_above_the_ceiling_is_refused_by_name_and_only_reported_in_audit() {
    let spec = json!({"image": "r/a", "limits": {"memory": "64Mi"}});
    let (reason, message) = refusal(validate(&object(&spec, vec![ceiling(32, Mode::Enforce)])));
    assert_eq!(reason, AcceptedReason::PolicyRefused);
    assert!(
        message.contains("\"cap\"") && message.contains("spec.limits.memory"),
        "{message}"
    );
    match validate(&object(&spec, vec![ceiling(32, Mode::Audit)])) {
        Validated::Accepted {
            audited, demand, ..
        } => {
            assert_eq!(audited.len(), 1);
            assert_eq!(demand.resources.memory_bytes, 64 * MIB);
        }
        Validated::Refused { message, .. } => panic!("refused: {message}"),
    }
}

#[test]
fn an_assigned_vm_counts_for_what_it_may_use() {
    let asks = vm(&json!({"image": "r/a", "limits": {"memory": "96Mi"}}));
    let silent = vm(&json!({"image": "r/a"}));
    let broken = vm(&json!({"image": 7}));
    let files = json!([{"path": "/work", "emptyDir": {}}]);
    let with_files = vm(&json!({"image": "r/a", "mounts": files, "limits": {"storage": "8Mi"}}));
    let secret = json!([{"path": "/key", "secret": {"secretName": "key"}}]);
    let refused = vm(&json!({"image": "r/a", "mounts": secret, "limits": {"storage": "8Mi"}}));
    let egress = json!([{"host": "localhost", "methods": ["GET"], "paths": ["*"]}]);
    let unsound = vm(&json!({"image": "r/a", "limits": {"memory": "96Mi"},
        "capabilities": {"network": {"egress": egress}}}));
    let cases = [
        (&asks, vec![], 96),
        (&silent, vec![], 64),
        (&silent, vec![ceiling(32, Mode::Enforce)], 32),
        // Refused by now, and perhaps still running.
        (&asks, vec![ceiling(32, Mode::Enforce)], 96),
        // It may have files, and the default for them is 64 MiB as well.
        (&broken, vec![], 128),
        (&with_files, vec![], 72),
        (&with_files, vec![ceiling(32, Mode::Enforce)], 40),
        (&refused, vec![], 72),
        // Live fields that can't be read any more: it runs with the others.
        (&unsound, vec![], 96),
    ];
    for (vm, policies, memory_mib) in cases {
        let counted = resources(vm, &policies);
        assert_eq!(
            (counted.memory_bytes, counted.vms),
            (memory_mib * MIB, 1),
            "{policies:?}"
        );
    }
}

#[test]
fn a_mount_of_a_secret_is_refused_unless_a_policy_allows_it() {
    let spec = json!({"image": "r/a", "mounts": [
        {"path": "/work", "emptyDir": {}},
        {"path": "/key", "secret": {"secretName": "key"}},
    ]});
    let (reason, message) = refusal(validate(&object(&spec, vec![])));
    assert_eq!(reason, AcceptedReason::PolicyRefused);
    assert!(
        message.starts_with("spec.mounts[1].secret asks for a Secret, no AgentPolicy"),
        "{message}"
    );
    let allows = PolicyRules {
        secret_mounts: true,
        ..ceiling(64, Mode::Enforce)
    };
    let Validated::Accepted { demand, .. } = validate(&object(&spec, vec![allows])) else {
        panic!("refused");
    };
    assert!(demand.has_files);
    assert_eq!(demand.resources.memory_bytes, 128 * MIB);
}

#[test]
fn f32_a_rule_of_the_network_is_refused_unless_it_can_be_read_and_a_policy_allows_it() {
    let asks = |host: &str| {
        json!({"image": "r/a", "capabilities": {"network": {"egress":
            [{"host": host, "methods": ["GET"], "paths": ["*"]}]}}})
    };
    let (reason, message) = refusal(validate(&object(&asks("0x7f.1"), vec![])));
    assert_eq!(reason, AcceptedReason::InvalidSpec);
    let field = "spec.capabilities.network.egress[0]";
    assert!(message.starts_with(&format!("{field}.host: ")), "{message}");
    let spec = asks("api.example.com");
    let (reason, message) = refusal(validate(&object(&spec, vec![])));
    assert_eq!(reason, AcceptedReason::PolicyRefused);
    assert!(
        message.starts_with(&format!("{field} asks for")),
        "{message}"
    );
    let allows = PolicyRules {
        egress: Some(vec![RuleText::new("*", &["*"], &["*"])]),
        ..ceiling(64, Mode::Enforce)
    };
    let Validated::Accepted { effective, .. } = validate(&object(&spec, vec![allows])) else {
        panic!("refused");
    };
    assert_eq!(effective.egress, ["GET https://api.example.com:443 /*"]);
}

#[test]
fn a_vm_without_mounts_needs_no_memory_for_files() {
    let spec = json!({"image": "r/a", "limits": {"storage": "1Gi"}});
    let Validated::Accepted { demand, .. } = validate(&object(&spec, vec![])) else {
        panic!("refused");
    };
    assert!(!demand.has_files);
    assert_eq!(demand.resources.memory_bytes, 64 * MIB);
}
