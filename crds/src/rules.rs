//! What an `AgentPolicy` rules, and which namespaces it holds in.

use std::collections::BTreeMap;

use agentvm_policy::{Mode, PolicyRules};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::ResourceExt as _;

use crate::agentpolicy::{AgentPolicy, PolicyMode};
use crate::asked::{allowed, clock_step, limit_request};
use crate::field::FieldError;

impl AgentPolicy {
    /// The policy as `agentvm_policy::effective` takes it.
    ///
    /// A caller that gets an error must refuse the VMs that the policy selects: a ceiling that
    /// can't be read is no reason to go without one.
    pub fn rules(&self) -> Result<PolicyRules, FieldError> {
        let limits = self.spec.limits.as_ref();
        let max = limits.and_then(|limits| limits.max.as_ref());
        let default = limits.and_then(|limits| limits.default.as_ref());
        let capabilities = self.spec.capabilities.as_ref();
        let clock = capabilities.and_then(|capabilities| capabilities.clock.as_ref());
        let clock = clock.map(|clock| {
            clock_step(
                "spec.capabilities.clock.minResolution",
                &clock.min_resolution,
            )
        });
        let network = capabilities.and_then(|capabilities| capabilities.network.as_ref());
        let network = network.map(allowed).transpose()?;
        Ok(PolicyRules {
            name: self.name_any(),
            mode: match self.spec.mode {
                PolicyMode::Enforce => Mode::Enforce,
                PolicyMode::Audit => Mode::Audit,
            },
            max: max
                .map(|max| limit_request("spec.limits.max", max))
                .transpose()?
                .unwrap_or_default(),
            default: default
                .map(|default| limit_request("spec.limits.default", default))
                .transpose()?
                .unwrap_or_default(),
            clock_min_resolution_ns: clock.transpose()?,
            secret_mounts: capabilities
                .is_some_and(|capabilities| capabilities.secret_mounts.is_some()),
            egress: network.as_ref().map(|(egress, _)| egress.clone()),
            networks: network.map(|(_, networks)| networks).unwrap_or_default(),
        })
    }

    /// Whether it holds in a namespace with `labels`.
    ///
    /// An operator that this version does not know selects: a ceiling errs on the strict side.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let LabelSelector {
            match_expressions,
            match_labels,
        } = &self.spec.namespace_selector;
        let mut pairs = match_labels.iter().flatten();
        let mut expressions = match_expressions.iter().flatten();
        pairs.all(|(key, value)| labels.get(key) == Some(value))
            && expressions.all(|requirement| holds(requirement, labels))
    }
}

/// The rules of every policy that holds in a namespace with `labels`.
///
/// # Errors
/// Where one of them can't be read: its VMs must be refused, see [`AgentPolicy::rules`]. The
/// error's field starts with the policy's name.
pub fn rules_for<'a>(
    policies: impl IntoIterator<Item = &'a AgentPolicy>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<PolicyRules>, FieldError> {
    let selected = policies.into_iter().filter(|policy| policy.selects(labels));
    selected
        .map(|policy| {
            policy.rules().map_err(|FieldError { field, message }| {
                FieldError::new(
                    format!("AgentPolicy {:?} {field}", policy.name_any()),
                    message,
                )
            })
        })
        .collect()
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = || {
        value.is_some_and(|value| {
            requirement
                .values
                .iter()
                .flatten()
                .any(|item| item == value)
        })
    };
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => true,
    }
}
