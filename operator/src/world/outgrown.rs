//! A VM whose manifest asks for more memory than it was placed with, on a node without that room.
//!
//! Memory that is promised twice is there once, so such a VM has to leave: what asks for it starts
//! a new run anyhow. CPU is another matter: a raise holds at once, for the VM that runs, and
//! where all want their part at once each is delayed. Until it fits again nothing more is placed.

use agentvm_policy::LimitField;

use crate::ledger::Claim;
use crate::resources::Resources;

/// What is known of one claim when an event brings it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grown<'a> {
    /// What was counted for it on that node before; `None` where nothing was.
    pub(super) before: Option<Resources>,
    /// Whether it had outgrown its node already.
    pub(super) was_too_large: bool,
    /// What is counted now.
    pub(super) now: &'a Claim,
}

impl Grown<'_> {
    /// Why the node has to let go of it, where its VMs hold `used` and it has `capacity`.
    pub(super) fn why(self, used: Resources, capacity: Resources) -> Option<String> {
        let Self {
            before,
            was_too_large,
            now,
        } = self;
        let before = before?;
        let wanted = now.resources.memory_bytes;
        if used.memory_bytes <= capacity.memory_bytes
            || !(was_too_large || wanted > before.memory_bytes)
        {
            return None;
        }
        let free = capacity.minus(used.minus(now.resources)).memory_bytes;
        Some(format!(
            "its spec asks for {} of memory by now (limits.memory, with limits.storage where it has mounts), and node {} has {} for it",
            LimitField::Memory.show(wanted),
            now.node,
            LimitField::Memory.show(free),
        ))
    }
}
