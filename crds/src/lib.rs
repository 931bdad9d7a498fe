//! The API of `AgentVM`: `agentvm.dev/v1alpha1`.

pub mod agentnode;
pub mod agentpolicy;
pub mod agentvm;

pub use agentnode::{AgentNode, AgentNodeSpec, AgentNodeStatus};
pub use agentpolicy::{AgentPolicy, AgentPolicySpec};
pub use agentvm::{AgentVM, AgentVMSpec, AgentVMStatus};

/// The API group.
pub const GROUP: &str = "agentvm.dev";
/// The namespace in which operator and node agents keep their Leases unless told otherwise.
pub const SYSTEM_NAMESPACE: &str = "agentvm-system";

/// The name of a node agent's Lease.
pub fn node_lease_name(node: &str) -> String {
    format!("node-{node}")
}
