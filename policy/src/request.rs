//! What a manifest asks for and what a policy rules, without any Kubernetes type.

use crate::LimitRequest;

/// What one `AgentVM` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `spec.limits`.
    pub limits: LimitRequest,
    /// `spec.capabilities.clock.resolution` in nanoseconds; `None` is not asked for.
    pub clock_resolution_ns: Option<u64>,
    /// The paths of the fields that mount a Secret, such as `spec.mounts[2].secret`.
    pub secret_mounts: Vec<String>,
}

/// One `AgentPolicy` that selects the VM's namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyRules {
    /// The policy's name, for messages.
    pub name: String,
    /// Whether a request above the ceiling is refused or only reported.
    pub mode: Mode,
    /// Ceilings; a limit that is not named is bounded by the built-in maximum alone.
    pub max: LimitRequest,
    /// Defaults for limits that the manifest does not name.
    pub default: LimitRequest,
    /// The finest clock allowed, in nanoseconds; `None` refuses the capability.
    pub clock_min_resolution_ns: Option<u64>,
    /// Whether a VM may mount Secrets of its namespace.
    pub secret_mounts: bool,
}

/// What happens to a request above the ceiling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// It is refused.
    #[default]
    Enforce,
    /// It is granted, counted and reported.
    Audit,
}
