//! `AgentVM`: one untrusted program and what it may do.

use std::collections::BTreeMap;

use agentvm_policy::{EndReason, budget};
use k8s_openapi::api::core::v1::Toleration;
/// A Kubernetes quantity as written: a string such as `64Mi`, or a bare integer.
pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::mount::{ConfigMapMount, EmptyDirMount, KeyToPath, Mount, SecretMount};
use crate::network::NetworkCapability;
use crate::{cel, schema};

/// One untrusted program, what it may do, and how much of it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "agentvm.dev",
    version = "v1alpha1",
    kind = "AgentVM",
    plural = "agentvms",
    shortname = "avm",
    category = "agentvm-all",
    namespaced,
    status = "AgentVMStatus",
    doc = "One untrusted program, what it may do, and how much of it.",
    derive = "PartialEq",
    derive = "Default",
    selectable = ".status.assignment.nodeName",
    printcolumn = r#"{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}"#,
    printcolumn = r#"{"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name": "Node", "type": "string", "jsonPath": ".status.assignment.nodeName"}"#,
    printcolumn = r#"{"name": "Restarts", "type": "integer", "jsonPath": ".status.restarts"}"#,
    printcolumn = r#"{"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1}"#,
    printcolumn = r#"{"name": "Memory", "type": "string", "jsonPath": ".status.effective.limits.memory", "priority": 1}"#,
    printcolumn = r#"{"name": "CPU", "type": "string", "jsonPath": ".status.effective.limits.cpu", "priority": 1}"#,
    printcolumn = r#"{"name": "Storage", "type": "string", "jsonPath": ".status.effective.limits.storage", "priority": 1}"#,
    printcolumn = r#"{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::spec()))]
pub struct AgentVMSpec {
    /// OCI reference of the module. Exactly one of `image` and `module`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = budget::IMAGE_CHARS.value), extend("x-kubernetes-validations" = cel::image()))]
    pub image: Option<String>,
    /// A module from the cluster itself. Exactly one of `image` and `module`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<ModuleSource>,
    /// Arguments after `argv[0]`; `$(NAME)` is replaced by the variable of that name in `env`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::ARGS.value), inner(length(max = budget::ARG_CHARS.value)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// The whole environment: nothing is inherited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::ENV.value), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// The whole filesystem: it sees these directories and nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::MOUNTS.value), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub mounts: Vec<Mount>,
    /// What it may do beyond computing. Absent is denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// How much it may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
    /// Stops the VM and keeps the object; `false` runs it again from its start.
    #[serde(default)]
    pub suspend: bool,
    /// When a run that ended is followed by another.
    #[serde(default)]
    pub restart_policy: RestartPolicy,
    /// Time between closing stdin and the stop, such as `10s`. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-validations" = cel::grace()))]
    pub termination_grace_period: Option<String>,
    /// Deletes the object this long after its end, such as `1h`. Absent keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-validations" = cel::ttl()))]
    pub ttl_after_finished: Option<String>,
    /// Labels that the Node must carry.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::node_selector")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of the Node that it tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::tolerations")]
    pub tolerations: Vec<Toleration>,
}

/// Where a module comes from if not from a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModuleSource {
    /// A key under `binaryData` of a ConfigMap in the same namespace.
    pub config_map: ConfigMapKey,
}

/// One key of a ConfigMap in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigMapKey {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::object_name()))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), extend("x-kubernetes-validations" = cel::config_map_key()))]
    pub key: String,
}

/// One environment variable. Exactly one of `value` and `valueFrom`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = cel::env_source()))]
pub struct EnvVar {
    /// The variable's name.
    #[schemars(length(min = 1, max = budget::ENV_NAME_CHARS.value), extend("x-kubernetes-validations" = cel::env_name()))]
    pub name: String,
    /// Its value as written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = budget::ENV_VALUE_CHARS.value))]
    pub value: Option<String>,
    /// Where its value is read when the VM starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<EnvVarSource>,
}

/// Where a variable's value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EnvVarSource {
    /// A key of a ConfigMap in the same namespace.
    pub config_map_key_ref: ConfigMapKey,
}

/// What a VM may do beyond computing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// A clock finer than 1 ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockCapability>,
    /// Requests to hosts outside. A change is live, but for the first rule, which takes a restart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkCapability>,
}

/// A clock finer than 1 ms.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClockCapability {
    /// The clock's step, from `1ns` to `1ms`.
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-validations" = cel::clock_step()))]
    pub resolution: String,
}

/// Limits as users write them: quantities and durations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Bytes, such as `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::memory")]
    pub memory: Option<Quantity>,
    /// Cores, such as `250m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::cpu")]
    pub cpu: Option<Quantity>,
    /// Units of fuel for the whole life of a run, such as `5G`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::fuel")]
    pub fuel: Option<Quantity>,
    /// Wall-clock time of one run, such as `10m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::timeout")]
    pub timeout: Option<String>,
    /// Bytes of output per second, such as `64Ki`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::log_rate")]
    pub log_rate: Option<Quantity>,
    /// Bytes of output of one run, such as `1Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::log_total")]
    pub log_total: Option<Quantity>,
    /// Bytes that its files hold together, such as `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::storage")]
    pub storage: Option<Quantity>,
    /// Files, directories and links together, such as `16k`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::inodes")]
    pub inodes: Option<Quantity>,
    /// Files and directories that are open at a time, such as `128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::open_files")]
    pub open_files: Option<Quantity>,
    /// Requests to the network in flight, such as `32`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::connections")]
    pub connections: Option<Quantity>,
    /// Bytes of the bodies that it sends in its whole life, such as `100Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::egress")]
    pub egress: Option<Quantity>,
    /// Bytes of bodies per second, both ways together, such as `10Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::egress_rate")]
    pub egress_rate: Option<Quantity>,
}

/// When a run that ended is followed by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartPolicy {
    /// One run.
    #[default]
    Never,
    /// Another run after any end but `Completed`.
    OnFailure,
    /// Another run after any end.
    Always,
}

/// What operator and node agent report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentVMStatus {
    /// The generation that the rest speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// One word for people; programs read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// One entry for each type; each type has one writer at a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,
    /// Where it runs. Written by the operator alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignment: Option<Assignment>,
    /// What it may really do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveStatus>,
    /// UID of the object that the agent reports on. Server-side apply on a status takes no
    /// UID as a precondition, so admission compares this one: a late report on an object that
    /// is gone never lands on another of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reported_uid: Option<String>,
    /// The assignment that its node has let go of: nothing runs by it, and never will again, so
    /// that the VM may be placed anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub released_epoch: Option<i64>,
    /// SHA-256 of the module that runs, as `sha256:<hex>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 71), regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub module_digest: Option<String>,
    /// Runs after the first, over the object's whole life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub restarts: Option<i32>,
    /// When the current run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub started_at: Option<Time>,
    /// How the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<ExitStatus>,
}

/// One word on where a VM is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// Not accepted, or not placed yet.
    Pending,
    /// Placed; its node fetches and compiles what it needs.
    Starting,
    /// Its guest runs.
    Running,
    /// It waits for its next run, or for the next attempt to start it.
    BackOff,
    /// Stopped because `spec.suspend` is true.
    Suspended,
    /// Its last run ended with exit code 0 and none will follow.
    Complete,
    /// It ended otherwise, or can't start, and none will follow.
    Failed,
}

/// Where a VM runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// Name of the Node.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
    /// Counts assignments of this object, from 1.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// Why the node must let go of it, such as a taint that it does not tolerate. Once it stands
    /// here, it stays until the next assignment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub evict: Option<String>,
    /// The room that the VM was given there. A spec that asks for more gets it where the node has
    /// it, else the VM has to leave; what it no longer asks for is free once it stands here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Claimed>,
}

/// The room that a VM was given on its node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claimed {
    /// Bytes: `limits.memory`, with `limits.storage` where it has mounts.
    #[schemars(schema_with = "schema::capacity")]
    pub memory: Quantity,
    /// Cores.
    #[schemars(schema_with = "schema::capacity")]
    pub cpu: Quantity,
}

/// What a VM may really do: its request cut with the policies of its namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveStatus {
    /// Every limit, decided; absent where the VM is refused.
    // As an empty object it would become null, and so invalid, where limits were applied before.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub limits: LimitsSpec,
    /// The clock's step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub clock_resolution: Option<String>,
    /// The requests that it may make, a line for each rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = budget::EFFECTIVE_RULES.value), inner(length(max = budget::EFFECTIVE_RULE_CHARS.value)), extend("x-kubernetes-list-type" = "atomic"))]
    pub egress: Vec<String>,
    /// What was asked and is above a ceiling, one sentence each: refused, or audited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 1024)), extend("x-kubernetes-list-type" = "atomic"))]
    pub refused: Vec<String>,
}

fn is_empty(limits: &LimitsSpec) -> bool {
    *limits == LimitsSpec::default()
}

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExitStatus {
    /// The guest's exit code, where it exited by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The reason, from a closed list.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z][A-Za-z0-9]*$"))]
    pub reason: String,
    /// Whose doing it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// The field to raise, where the end was at a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = r"^spec(\.[A-Za-z]+)+$"))]
    pub field: Option<String>,
    /// One sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub finished_at: Option<Time>,
    /// CPU time it used, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cpu_millis: Option<i64>,
    /// The most memory it held, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub memory_peak_bytes: Option<i64>,
    /// What the run asked of hosts outside; absent where it asked nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkUsage>,
}

/// What a run asked of hosts outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkUsage {
    /// Requests that a host answered.
    #[schemars(range(min = 0))]
    pub answered: i64,
    /// Requests that got no answer, for whatever reason.
    #[schemars(range(min = 0))]
    pub refused: i64,
    /// Bytes of bodies that it sent.
    #[schemars(range(min = 0))]
    pub sent_bytes: i64,
    /// Bytes of bodies that it got.
    #[schemars(range(min = 0))]
    pub received_bytes: i64,
}

impl ExitStatus {
    /// The exit for `reason`, with whose doing it is and what to raise; the rest is empty.
    pub fn of(reason: EndReason) -> Self {
        Self {
            reason: reason.as_str().to_owned(),
            fault: Some(reason.fault().into()),
            field: reason.field_to_raise().map(str::to_owned),
            ..Self::default()
        }
    }
}

/// Whose doing the end of a run is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Fault {
    /// Nobody's: it ended as it should, or was asked to.
    Nobody,
    /// The program's: it failed, or came to a limit.
    Program,
    /// The platform's: the program did nothing wrong.
    Platform,
}

impl Fault {
    /// The word as it stands in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "Nobody",
            Self::Program => "Program",
            Self::Platform => "Platform",
        }
    }
}

impl From<agentvm_policy::Fault> for Fault {
    fn from(fault: agentvm_policy::Fault) -> Self {
        match fault {
            agentvm_policy::Fault::None => Self::Nobody,
            agentvm_policy::Fault::Guest => Self::Program,
            agentvm_policy::Fault::Host => Self::Platform,
        }
    }
}
