//! What is refused, and what a VM counts for.

use std::sync::Arc;

use agentvm_crds::AgentVM;
use agentvm_crds::conditions::AcceptedReason;
use agentvm_policy::{LimitRequest, Mode, PolicyRules};
use serde_json::{Value, json};

use super::{Validated, resources, validate};
use crate::decoded::Decoded;
use crate::dereference::Dereferenced;
use crate::world::Key;

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
    let cases = [
        (&asks, vec![], 96),
        (&silent, vec![], 64),
        (&silent, vec![ceiling(32, Mode::Enforce)], 32),
        // Refused by now, and perhaps still running.
        (&asks, vec![ceiling(32, Mode::Enforce)], 96),
        (&broken, vec![], 64),
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
