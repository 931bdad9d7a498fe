//! What an event asks for: VMs to look at, and waiting ones to try again.

use std::collections::BTreeSet;

use crate::ledger::Room;
use crate::nodes::Change;
use crate::place::Unplaceable;

/// Namespace and name of an `AgentVM`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What an event asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wake {
    /// VMs to reconcile.
    pub keys: BTreeSet<Key>,
    /// Whether the VMs that wait for room should be tried again.
    pub waiting: Option<Cause>,
}

/// Why the waiting VMs are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Room was given back: only those that fit now are of interest.
    RoomFreed,
    /// A node changed: the reason why the others don't fit may read differently.
    NodeChanged,
}

/// The outcome of [`World::place_or_wait`](super::World::place_or_wait).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// This node; the room is counted from now on.
    Node(String),
    /// Its assignment is under way already.
    UnderWay,
    /// No node; it waits.
    None(Unplaceable),
}

impl Wake {
    pub(super) fn after(change: Change) -> Self {
        let waiting = match change {
            Change::Changed => Some(Cause::NodeChanged),
            Change::Same => None,
        };
        Self {
            keys: BTreeSet::new(),
            waiting,
        }
    }
}

impl Room {
    pub(super) fn cause(self) -> Option<Cause> {
        match self {
            Self::Freed => Some(Cause::RoomFreed),
            Self::Same => None,
        }
    }
}
