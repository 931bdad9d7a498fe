//! Which policies hold in a namespace, kept ready from the two watches.

use std::collections::{BTreeMap, BTreeSet};

use agentvm_crds::AgentPolicy;
use agentvm_policy::PolicyRules;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::Resource as _;

use crate::decoded::Decoded;

type Labels = BTreeMap<String, String>;

/// Every policy and the labels of every namespace.
#[derive(Debug, Default)]
pub struct Policies {
    policies: BTreeMap<String, Policy>,
    namespaces: BTreeMap<String, Labels>,
}

/// One policy: which namespaces it selects, and its rules or why they can't be read.
#[derive(Clone, Debug)]
struct Policy {
    selector: AgentPolicy,
    rules: Result<PolicyRules, String>,
}

/// A policy that holds here and can't be read: nothing is granted until it is mended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "AgentPolicy {name:?} selects this namespace and can't be read, so nothing is granted: {problem}"
)]
pub struct Unreadable {
    name: String,
    problem: String,
}

impl Policies {
    /// The policies that hold in `namespace`, by name.
    ///
    /// # Errors
    /// One of them can't be read; a ceiling that nobody knows is no reason to go without one.
    pub fn of(&self, namespace: &str) -> Result<Vec<PolicyRules>, Unreadable> {
        let none = Labels::new();
        let labels = self.namespaces.get(namespace).unwrap_or(&none);
        let holding = self
            .policies
            .iter()
            .filter(|(_, policy)| policy.selector.selects(labels));
        holding
            .map(|(name, policy)| {
                policy.rules.clone().map_err(|problem| Unreadable {
                    name: name.clone(),
                    problem,
                })
            })
            .collect()
    }

    /// Takes over the labels of a namespace, or its absence; says whether they changed.
    pub fn set_namespace(&mut self, name: &str, labels: Option<&Labels>) -> bool {
        let before = match labels {
            Some(labels) => self.namespaces.insert(name.to_owned(), labels.clone()),
            None => self.namespaces.remove(name),
        };
        before.as_ref() != labels
    }

    /// Takes over a policy; returns the namespaces where it holds or held.
    pub fn set(&mut self, policy: &Decoded<AgentPolicy>) -> BTreeSet<String> {
        let policy_name = policy.meta().name.clone().unwrap_or_default();
        let after = match &policy.0 {
            Ok(policy) => Policy {
                selector: selector_only(policy.spec.namespace_selector.clone()),
                rules: policy.rules().map_err(|error| error.to_string()),
            },
            // Without a readable selector it selects every namespace.
            Err(broken) => Policy {
                selector: selector_only(broken.part("/spec/namespaceSelector").unwrap_or_default()),
                rules: Err(broken.error.clone()),
            },
        };
        let mut touched = self.selected(&after);
        if let Some(before) = self.policies.insert(policy_name, after) {
            touched.extend(self.selected(&before));
        }
        touched
    }

    /// Drops a policy; returns the namespaces where it held.
    pub fn remove(&mut self, name: &str) -> BTreeSet<String> {
        self.policies
            .remove(name)
            .map(|policy| self.selected(&policy))
            .unwrap_or_default()
    }

    fn selected(&self, policy: &Policy) -> BTreeSet<String> {
        let namespaces = self.namespaces.iter();
        namespaces
            .filter(|(_, labels)| policy.selector.selects(labels))
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// A policy that only answers which namespaces it selects.
fn selector_only(namespace_selector: LabelSelector) -> AgentPolicy {
    let mut policy = AgentPolicy::default();
    policy.spec.namespace_selector = namespace_selector;
    policy
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use agentvm_crds::AgentPolicy;
    use serde_json::json;

    use super::Policies;
    use crate::decoded::Decoded;

    fn policy(name: &str, spec: &serde_json::Value) -> Decoded<AgentPolicy> {
        let object = json!({"apiVersion": "agentvm.dev/v1alpha1", "kind": "AgentPolicy", "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    fn two_namespaces() -> Policies {
        let mut policies = Policies::default();
        policies.set_namespace(
            "blue",
            Some(&BTreeMap::from([("team".into(), "blue".into())])),
        );
        policies.set_namespace(
            "red",
            Some(&BTreeMap::from([("team".into(), "red".into())])),
        );
        policies
    }

    #[test]
    fn a_policy_holds_where_its_selector_matches() {
        let mut policies = two_namespaces();
        let touched = policies.set(&policy(
            "cap",
            &json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}),
        ));
        assert_eq!(Vec::from_iter(touched), ["blue"]);
        assert_eq!(policies.of("blue").unwrap().len(), 1);
        assert!(policies.of("red").unwrap().is_empty());
    }

    #[test]
    fn a_moved_policy_touches_the_namespaces_it_left_and_those_it_entered() {
        let mut policies = two_namespaces();
        policies.set(&policy(
            "cap",
            &json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}),
        ));
        let touched = policies.set(&policy(
            "cap",
            &json!({"namespaceSelector": {"matchLabels": {"team": "red"}}}),
        ));
        assert_eq!(Vec::from_iter(touched), ["blue", "red"]);
        assert_eq!(Vec::from_iter(policies.remove("cap")), ["red"]);
    }

    #[test]
    fn a_policy_that_cannot_be_read_grants_nothing_where_it_holds() {
        let mut policies = two_namespaces();
        policies.set(&policy(
            "odd",
            &json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}, "mode": "Later"}),
        ));
        let problem = policies.of("blue").unwrap_err().to_string();
        assert!(
            problem.starts_with("AgentPolicy \"odd\" selects this namespace and can't be read"),
            "{problem}"
        );
        assert!(policies.of("red").is_ok());
    }

    #[test]
    fn a_policy_whose_selector_cannot_be_read_holds_everywhere() {
        let mut policies = two_namespaces();
        policies.set(&policy("odd", &json!({"namespaceSelector": 7})));
        assert!(policies.of("blue").is_err());
        assert!(policies.of("red").is_err());
    }
}
