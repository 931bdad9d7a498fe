//! `AgentPolicy`: the ceiling over what the VMs of some namespaces may ask for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agentvm::LimitsSpec;
use crate::network::PolicyNetwork;
use crate::{cel, schema};

/// The ceiling over what the VMs of the selected namespaces may ask for.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agentvm.dev",
    version = "v1alpha1",
    kind = "AgentPolicy",
    plural = "agentpolicies",
    shortname = "avmp",
    category = "agentvm-all",
    doc = "The ceiling over what the VMs of the selected namespaces may ask for.",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name": "Mode", "type": "string", "jsonPath": ".spec.mode"}"#,
    printcolumn = r#"{"name": "Memory", "type": "string", "jsonPath": ".spec.limits.max.memory"}"#,
    printcolumn = r#"{"name": "CPU", "type": "string", "jsonPath": ".spec.limits.max.cpu"}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentPolicySpec {
    /// The namespaces it holds in; empty selects all, as everywhere in Kubernetes.
    #[schemars(schema_with = "schema::label_selector")]
    pub namespace_selector: LabelSelector,
    /// Whether a request above the ceiling is refused or only reported.
    #[serde(default)]
    pub mode: PolicyMode,
    /// Ceilings and defaults of the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<PolicyLimits>,
    /// Capabilities that may be asked for. Absent is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<PolicyCapabilities>,
}

/// Whether a request above the ceiling is refused or only reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyMode {
    /// Refused, with a condition that names policy and field.
    #[default]
    Enforce,
    /// Granted, counted and reported.
    Audit,
}

/// Ceilings and defaults of the limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyLimits {
    /// The most that may be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<LimitsSpec>,
    /// What holds where the manifest names nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<LimitsSpec>,
}

/// Capabilities that may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyCapabilities {
    /// A clock finer than 1 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<PolicyClock>,
    /// Mounts of Secrets of the VM's namespace. `{}` allows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_mounts: Option<PolicySecretMounts>,
    /// Requests to hosts outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<PolicyNetwork>,
}

/// Mounts of Secrets. It has no fields yet: that it stands there allows them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicySecretMounts {}

/// How fine a clock may be asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyClock {
    /// The finest step, such as `1us`.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-validations" = cel::clock_step()))]
    pub min_resolution: String,
}
