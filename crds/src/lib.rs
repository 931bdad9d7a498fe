//! The API of `AgentVM`: `agentvm.dev/v1alpha1`.

pub mod agentnode;
pub mod agentpolicy;
pub mod agentvm;
pub mod answer;
mod asked;
mod cel;
pub mod conditions;
pub mod duration;
mod effective;
mod field;
mod mount;
pub mod mutability;
pub mod network;
pub mod quantity;
mod rules;
mod schema;
pub mod served;
pub mod skew;
pub mod validate;

pub use agentnode::{AgentNode, AgentNodeSpec, AgentNodeStatus};
pub use agentpolicy::{AgentPolicy, AgentPolicySpec};
pub use agentvm::{AgentVM, AgentVMSpec, AgentVMStatus};
pub use asked::{
    AskedEgress, AskedFiles, AskedInject, AskedItem, AskedMount, AskedSource, DEFAULT_GRACE, HOLE,
    MAX_GRACE, MAX_TTL, ObjectKind, Source,
};
pub use field::FieldError;
pub use rules::rules_for;
pub use schema::{VERSION_ANNOTATION, crd, crds, files};

/// The API group.
pub const GROUP: &str = "agentvm.dev";
/// The namespace in which operator and node agents keep their Leases unless told otherwise.
pub const SYSTEM_NAMESPACE: &str = "agentvm-system";

/// The name of a node agent's Lease.
pub fn node_lease_name(node: &str) -> String {
    format!("node-{node}")
}
