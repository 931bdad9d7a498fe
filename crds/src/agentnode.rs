//! `AgentNode`: what one node can run, reported by its node agent.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::agentvm::Quantity;
use crate::schema;

/// One node as its agent sees it; its name is the Node's. There is nothing to specify.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agentvm.dev",
    version = "v1alpha1",
    kind = "AgentNode",
    plural = "agentnodes",
    shortname = "avmn",
    category = "agentvm-all",
    status = "AgentNodeStatus",
    doc = "One node as its agent sees it; its name is the Node's. There is nothing to specify.",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Jail", "type": "string", "jsonPath": ".status.jail.level"}"#,
    printcolumn = r#"{"name": "Memory", "type": "string", "jsonPath": ".status.allocatable.memory"}"#,
    printcolumn = r#"{"name": "CPU", "type": "string", "jsonPath": ".status.allocatable.cpu"}"#,
    printcolumn = r#"{"name": "VMs", "type": "integer", "jsonPath": ".status.allocatable.vms"}"#,
    printcolumn = r#"{"name": "Cells", "type": "integer", "jsonPath": ".status.allocatable.cells", "priority": 1}"#,
    printcolumn = r#"{"name": "Engine", "type": "string", "jsonPath": ".status.engine", "priority": 1}"#,
    printcolumn = r#"{"name": "Version", "type": "string", "jsonPath": ".status.version", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
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
    /// Namespaces whose cells are in use, sorted: where a VM runs, is about to, or, deleted, still
    /// stops.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4096), inner(length(max = 63)), extend("x-kubernetes-list-type" = "atomic"))]
    pub cells: Vec<String>,
    /// How much of the jail its kernel allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jail: Option<Jail>,
    /// Hash of the engine's settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub engine: Option<String>,
    /// Version of the node agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub version: Option<String>,
    /// One entry for each type: `Ready`, and `Constrained` where it can hold less than it was set to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
}

/// What VMs may use of a node, in sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCapacity {
    /// Bytes.
    #[schemars(schema_with = "schema::capacity")]
    pub memory: Quantity,
    /// Cores.
    #[schemars(schema_with = "schema::capacity")]
    pub cpu: Quantity,
    /// VMs at once: pool slots, bounded by `vm.max_map_count`.
    #[schemars(range(min = 0))]
    pub vms: i64,
    /// Cells at once, and so namespaces with VMs here. Not bounded where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cells: Option<i64>,
    /// VMs of one namespace at once. Not bounded where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub vms_per_cell: Option<i64>,
}

/// How much of the jail the kernel allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jail {
    /// `Full`, `Partial` or `None`.
    pub level: JailLevel,
    /// What is missing; empty where nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
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
