//! A VM whose manifest asks for more memory than it was placed with.
//!
//! Where its node has that room, it is the VM's from now on. Else the VM has to leave: memory that
//! is promised twice is there once, and what asks for it starts a new run anyhow. CPU is another
//! matter: a raise holds at once, for the VM that runs, and where all want their part at once each
//! is delayed. Until it fits again nothing more is placed.

use agentvm_policy::LimitField;

use crate::ledger::Claim;
use crate::resources::Resources;

/// What a VM holds on its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// What is its, if it is on a node.
    pub claimed: Option<Resources>,
    /// Why the node has no room for what it asks for by now, where that is so.
    pub outgrown: Option<String>,
}

impl Holding {
    /// What follows from a claim where so much memory of the node was granted to no other VM;
    /// `None` where that is not known.
    pub(super) fn of(claim: &Claim, free_bytes: Option<u64>) -> Self {
        let Claim {
            wanted,
            granted_bytes,
            ref node,
            ..
        } = *claim;
        let kept = Resources {
            memory_bytes: granted_bytes,
            ..wanted
        };
        let (claimed, too_little) = match free_bytes {
            _ if wanted.memory_bytes <= granted_bytes => (wanted, None),
            // Nobody is turned out, and nothing is given, while it is not known what there is.
            None => (kept, None),
            Some(free) if wanted.memory_bytes <= free => (wanted, None),
            Some(free) => (kept, Some(free)),
        };
        Self {
            claimed: Some(claimed),
            outgrown: too_little.map(|free| {
                format!(
                    "its spec asks for {} of memory by now (limits.memory, with limits.storage where it has mounts), and node {node} has {} for it",
                    LimitField::Memory.show(wanted.memory_bytes),
                    LimitField::Memory.show(free),
                )
            }),
        }
    }
}
