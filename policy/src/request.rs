//! What a manifest asks for and what a policy rules, without any Kubernetes type.

use crate::egress::{Cidr, RuleText};
use crate::{EgressAsk, LimitRequest};

/// What one `AgentVM` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `spec.limits`.
    pub limits: LimitRequest,
    /// `spec.capabilities.clock.resolution` in nanoseconds; `None` is not asked for.
    pub clock_resolution_ns: Option<u64>,
    /// The paths of the fields that mount a Secret, such as `spec.mounts[2].secret`.
    pub secret_mounts: Vec<String>,
    /// `spec.capabilities.network.egress`, in the order of the manifest.
    pub egress: Vec<EgressAsk>,
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
    /// The requests that a VM may ask for; `None` refuses the network altogether.
    pub egress: Option<Vec<RuleText>>,
    /// Private networks that it opens to whoever may send requests there.
    pub networks: Vec<Cidr>,
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
