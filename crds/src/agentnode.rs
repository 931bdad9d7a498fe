//! `AgentNode`: what one node can run, reported by its node agent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agentvm::Quantity;

/// One node as its agent sees it; its name is the Node's. There is nothing to specify.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agentvm.dev",
    version = "v1alpha1",
    kind = "AgentNode",
    plural = "agentnodes",
    shortname = "avmn",
    status = "AgentNodeStatus",
    derive = "PartialEq",
    derive = "Default"
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentNodeSpec {}

/// What the node can run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentNodeStatus {
    /// What the sum of the limits of its VMs may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allocatable: Option<NodeCapacity>,
    /// How much of the jail its kernel allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<Jail>,
    /// Hash of the engine's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Version of the node agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One entry for each type: `Ready`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What VMs may use of a node, in sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCapacity {
    /// Bytes.
    pub memory: Quantity,
    /// Cores.
    pub cpu: Quantity,
    /// VMs at once: pool slots, bounded by `vm.max_map_count`.
    pub vms: i64,
}

/// How much of the jail the kernel allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jail {
    /// `Full`, `Partial` or `None`.
    pub level: JailLevel,
    /// What is missing; empty where nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// How much of the jail the kernel allows, least first.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum JailLevel {
    /// Neither seccomp nor Landlock.
    #[default]
    None,
    /// seccomp without Landlock.
    Partial,
    /// seccomp and Landlock.
    Full,
}
