//! `deploy/`: who may do what, as a list that a reviewer reads, and the walls around it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails"
)]

use std::path::Path;

use serde::Deserialize as _;
use serde_json::Value;

/// Every rule of every role. A line more or another verb is a decision: change it here as well.
const RULES: &str = "\
ClusterRole agentvm-operator: agentvm.dev/agentpolicies: get list watch
ClusterRole agentvm-operator: agentvm.dev/agentnodes: get list watch
ClusterRole agentvm-operator: /nodes: get list watch
ClusterRole agentvm-operator: /namespaces: get list watch
ClusterRole agentvm-operator: apiextensions.k8s.io/customresourcedefinitions [agentvms.agentvm.dev agentpolicies.agentvm.dev agentnodes.agentvm.dev]: get
ClusterRole agentvm-operator-vms: agentvm.dev/agentvms: get list watch delete
ClusterRole agentvm-operator-vms: agentvm.dev/agentvms/status: get patch
ClusterRole agentvm-operator-vms: events.k8s.io/events: create patch
ClusterRole agentvm-node-agent: agentvm.dev/agentpolicies: get list watch
ClusterRole agentvm-node-agent: agentvm.dev/agentnodes: get create patch
ClusterRole agentvm-node-agent: agentvm.dev/agentnodes/status: get patch
ClusterRole agentvm-node-agent: /namespaces: get list watch
ClusterRole agentvm-node-agent: /nodes: get
ClusterRole agentvm-node-agent-vms: agentvm.dev/agentvms: get list watch
ClusterRole agentvm-node-agent-vms: agentvm.dev/agentvms/status: get patch
ClusterRole agentvm-node-agent-vms: /configmaps: get
ClusterRole agentvm-node-agent-vms: events.k8s.io/events: create patch
ClusterRole agentvm-secret-reader: /secrets: get
ClusterRole agentvm-view: agentvm.dev/agentvms: get list watch
ClusterRole agentvm-view: agentvm.dev/agentvms/status: get list watch
ClusterRole agentvm-edit: agentvm.dev/agentvms: create update patch delete deletecollection
Role agentvm-operator: coordination.k8s.io/leases: get list watch create
Role agentvm-operator: coordination.k8s.io/leases [agentvm-operator]: update
Role agentvm-node-agent: coordination.k8s.io/leases: get create update patch
";

fn documents(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap()
}

fn name(document: &Value) -> &str {
    document["metadata"]["name"].as_str().unwrap()
}

fn lines() -> Vec<String> {
    let documents = documents("rbac.yaml");
    let mut lines = Vec::new();
    for role in documents
        .iter()
        .filter(|document| document.get("rules").is_some())
    {
        for rule in role["rules"].as_array().unwrap() {
            let names = texts(&rule["resourceNames"]);
            let names = if names.is_empty() {
                String::new()
            } else {
                format!(" [{}]", names.join(" "))
            };
            for group in texts(&rule["apiGroups"]) {
                for resource in texts(&rule["resources"]) {
                    let verbs = texts(&rule["verbs"]).join(" ");
                    lines.push(format!(
                        "{} {}: {group}/{resource}{names}: {verbs}",
                        kind(role),
                        name(role)
                    ));
                }
            }
        }
    }
    lines
}

#[test]
fn k26_the_roles_allow_what_is_listed_and_nothing_else() {
    assert_eq!(lines().join("\n"), RULES.trim_end());
}

#[test]
fn k26_no_role_reads_secrets_or_uses_a_wildcard() {
    let opted_in = "ClusterRole agentvm-secret-reader: /secrets: get";
    for line in lines().into_iter().filter(|line| line != opted_in) {
        for word in [
            "*",
            "secrets",
            "escalate",
            "impersonate",
            "bind",
            "pods",
            "token",
        ] {
            assert!(!line.contains(word), "{line}");
        }
    }
}

#[test]
fn k26_the_one_role_that_reads_secrets_is_bound_to_nobody() {
    for document in documents("rbac.yaml") {
        assert_ne!(document["roleRef"]["name"], "agentvm-secret-reader");
        let labels = document["metadata"]["labels"].to_string();
        assert!(name(&document) != "agentvm-secret-reader" || !labels.contains("aggregate"));
    }
}

#[test]
fn k13_no_tenants_role_writes_a_status() {
    let tenants = lines()
        .into_iter()
        .filter(|line| line.contains("agentvm-edit") || line.contains("agentvm-view"));
    for line in tenants {
        let reads = line.ends_with(": get list watch");
        assert!(reads || !line.contains("status"), "{line}");
    }
}

#[test]
fn every_role_is_bound_to_its_own_account_alone() {
    for binding in documents("rbac.yaml")
        .iter()
        .filter(|document| kind(document).ends_with("Binding"))
    {
        let [subject] = binding["subjects"].as_array().unwrap().as_slice() else {
            panic!("{binding}");
        };
        assert_eq!(subject["kind"], "ServiceAccount");
        let role = binding["roleRef"]["name"].as_str().unwrap();
        assert_eq!(subject["name"], role.trim_end_matches("-vms"));
        assert_eq!(subject["namespace"], agentvm_crds::SYSTEM_NAMESPACE);
    }
}

#[test]
fn every_policy_is_bound_denies_and_fails_closed() {
    let documents = documents("admission.yaml");
    let policies: Vec<_> = documents
        .iter()
        .filter(|one| kind(one) == "ValidatingAdmissionPolicy")
        .collect();
    assert_eq!(policies.len(), 4);
    for policy in policies {
        assert_eq!(policy["spec"]["failurePolicy"], "Fail", "{}", name(policy));
        let binding = documents
            .iter()
            .find(|one| one["spec"]["policyName"] == policy["metadata"]["name"])
            .unwrap();
        assert_eq!(
            texts(&binding["spec"]["validationActions"]),
            ["Deny"],
            "{}",
            name(policy)
        );
        for validation in policy["spec"]["validations"].as_array().unwrap() {
            assert!(
                validation["messageExpression"].is_string(),
                "{}",
                name(policy)
            );
        }
    }
}

#[test]
fn k24_no_policy_can_stand_in_the_way_of_anything_but_ours() {
    for policy in documents("admission.yaml")
        .iter()
        .filter(|one| kind(one) == "ValidatingAdmissionPolicy")
    {
        let constraints = &policy["spec"]["matchConstraints"];
        let namespace =
            &constraints["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
        for rule in constraints["resourceRules"].as_array().unwrap() {
            let ours = texts(&rule["apiGroups"]) == [agentvm_crds::GROUP];
            let leases = texts(&rule["resources"]) == ["leases"]
                && namespace == agentvm_crds::SYSTEM_NAMESPACE;
            assert!(ours || leases, "{}", name(policy));
            assert!(
                !texts(&rule["resources"]).contains(&"*"),
                "{}",
                name(policy)
            );
        }
    }
}
