//! Who holds what: the sum of the limits of the VMs assigned to each node.
//!
//! A claim is counted from the decision, before the write and before the watch shows it,
//! so that many VMs at once can't be promised the same room. An event older than that
//! decision does not take it back.

mod cells;

use std::collections::{BTreeMap, BTreeSet};

use crate::guards::{Guard, is_on};
use crate::place::Used;
use crate::resources::Resources;
use cells::Cells;

/// What one VM holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: String,
    /// The VM's namespace, whose cell holds it there.
    pub namespace: String,
    /// How much is counted for it: what it asks for, and no less than what was written down.
    pub resources: Resources,
    /// What its spec asks for.
    pub wanted: Resources,
    /// The memory of it for which there was room when that was decided.
    pub granted_bytes: u64,
    /// The assignment's epoch.
    pub epoch: i64,
}

impl Claim {
    /// One that has been decided: all of it was there.
    pub fn decided(node: &str, namespace: &str, epoch: i64, resources: Resources) -> Self {
        Self {
            node: node.to_owned(),
            namespace: namespace.to_owned(),
            resources,
            wanted: resources,
            granted_bytes: resources.memory_bytes,
            epoch,
        }
    }

    /// One that an object shows: its spec asks for `wanted`, its assignment says `recorded`, and
    /// `granted_bytes` of memory are known here to be its on that node.
    ///
    /// An assignment of a version that recorded nothing counts as what the spec asks for.
    pub fn seen(
        node: &str,
        namespace: &str,
        epoch: i64,
        wanted: Resources,
        recorded: Option<Resources>,
        granted_bytes: Option<u64>,
    ) -> Self {
        let recorded_bytes = recorded.map(|recorded| recorded.memory_bytes);
        // A grant whose write is under way is not in the object yet.
        let granted_bytes = granted_bytes.map(|bytes| bytes.min(wanted.memory_bytes));
        Self {
            node: node.to_owned(),
            namespace: namespace.to_owned(),
            resources: wanted.at_least(recorded.unwrap_or_default()),
            wanted,
            granted_bytes: recorded_bytes
                .max(granted_bytes)
                .unwrap_or(wanted.memory_bytes),
            epoch,
        }
    }
}

/// How sure we are of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// Decided here; the write is under way or the watch has not shown it yet.
    Assumed,
    /// Its write ended in a way that says neither yes nor no.
    Doubtful,
    /// The API server showed it.
    Observed,
}

/// What is counted for one VM.
#[derive(Clone, Debug)]
struct Held {
    claim: Claim,
    certainty: Certainty,
    /// Claims whose writes ended without an answer before `claim` was decided. One of them may
    /// stand, so each holds its room until the API server shows what does.
    doubted: Vec<Claim>,
}

/// Every claim, by the VM's UID, and the sums by node.
#[derive(Debug, Default)]
pub struct Ledger {
    claims: BTreeMap<String, Held>,
    used: BTreeMap<String, Resources>,
    cells: Cells,
}

/// Whether an observation made room on some node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It did.
    Freed,
    /// It did not.
    Same,
}

impl Ledger {
    /// What is held on `node`.
    pub fn used(&self, node: &str) -> Resources {
        self.used.get(node).copied().unwrap_or_default()
    }

    /// What is held on `node` by others than this VM of `namespace`. The cell that it may have been
    /// given there is counted: it finds it, and needs no other.
    pub fn used_by_others(&self, node: &str, namespace: &str, uid: &str) -> Used {
        let own = self.claims.get(uid).map(|held| held.on(node));
        let own = own.unwrap_or_default();
        let own_cell = self.cells.vms(node, namespace);
        Used {
            resources: self.used(node).minus(own),
            cells: self.cells.count(node),
            own_cell: own_cell.map(|vms| vms.saturating_sub(own.vms)),
        }
    }

    /// The agent of `node` says which namespaces' cells are in use there.
    pub fn report_cells(&mut self, node: &str, namespaces: &[String]) -> Room {
        self.cells.report(node, namespaces)
    }

    /// The memory that was granted to this VM on `node`, where it holds anything there.
    pub fn granted_bytes(&self, uid: &str, node: &str) -> Option<u64> {
        self.claims.get(uid)?.granted_bytes(node)
    }

    /// The memory that was granted on `node` to VMs other than this one. Looks at every claim.
    pub fn granted_bytes_to_others(&self, node: &str, uid: &str) -> u64 {
        let others = self.claims.iter().filter(|(of, _)| of.as_str() != uid);
        others
            .filter_map(|(_, held)| held.granted_bytes(node))
            .fold(0, u64::saturating_add)
    }

    /// What an object was last seen to hold.
    pub fn observed(&self, uid: &str) -> Option<&Claim> {
        let held = self.claims.get(uid)?;
        (held.certainty == Certainty::Observed).then_some(&held.claim)
    }

    /// So much memory is this VM's where it is, and no less than was: that takes a write.
    pub fn grant(&mut self, uid: &str, bytes: u64) {
        if let Some(held) = self.claims.get_mut(uid) {
            held.claim.granted_bytes = held.claim.granted_bytes.max(bytes);
        }
    }

    /// Whether this VM already holds a claim of that epoch or a later one that is not in doubt.
    pub fn holds(&self, uid: &str, epoch: i64) -> bool {
        self.claims
            .get(uid)
            .is_some_and(|held| held.claim.epoch >= epoch && held.certainty != Certainty::Doubtful)
    }

    /// Counts a decision from now on, beside what is in doubt.
    pub fn assume(&mut self, uid: &str, claim: &Claim) {
        if !is_on(Guard::CountedAtOnce) {
            return;
        }
        let doubted = self.claims.get(uid).map(Held::in_doubt);
        let held = Held {
            claim: claim.clone(),
            certainty: Certainty::Assumed,
            doubted: doubted.unwrap_or_default(),
        };
        self.replace(uid, Some(held));
    }

    /// Takes a decision back whose write was refused. What was in doubt before still is.
    pub fn forget(&mut self, uid: &str, epoch: i64) -> Room {
        let Some(held) = self.claims.get(uid) else {
            return Room::Same;
        };
        if held.certainty != Certainty::Assumed || held.claim.epoch != epoch {
            return Room::Same;
        }
        let mut doubted = held.doubted.clone();
        let before = doubted.pop().map(|claim| Held {
            claim,
            certainty: Certainty::Doubtful,
            doubted,
        });
        self.replace(uid, before)
    }

    /// Keeps counting a decision whose write may or may not have happened, and allows another one.
    pub fn doubt(&mut self, uid: &str, epoch: i64) {
        if let Some(held) = self.claims.get_mut(uid)
            && held.certainty == Certainty::Assumed
            && held.claim.epoch == epoch
        {
            held.certainty = Certainty::Doubtful;
        }
    }

    /// Takes over what an object says: the epoch of its assignment (0 without one) and what it
    /// holds by it (`None` where it holds nothing: not assigned, or ended).
    pub fn observe(&mut self, uid: &str, epoch: i64, claim: Option<&Claim>) -> Room {
        if let Some(held) = self.claims.get(uid)
            && held.certainty != Certainty::Observed
            && held.claim.epoch > epoch
        {
            return Room::Same;
        }
        let held = claim.map(|claim| Held {
            claim: claim.clone(),
            certainty: Certainty::Observed,
            doubted: Vec::new(),
        });
        self.replace(uid, held)
    }

    /// Drops everything that a VM holds.
    pub fn remove(&mut self, uid: &str) -> Room {
        self.replace(uid, None)
    }

    fn replace(&mut self, uid: &str, held: Option<Held>) -> Room {
        let before = self.claims.remove(uid);
        for node in held.iter().flat_map(Held::nodes) {
            let more = held.as_ref().map(|held| held.on(node)).unwrap_or_default();
            let used = self.used.entry(node.to_owned()).or_default();
            *used = used.plus(more);
            for namespace in held.iter().map(Held::namespace) {
                self.cells.enter(node, namespace);
            }
        }
        let mut room = Room::Same;
        for node in before.iter().flat_map(Held::nodes) {
            let less = before
                .as_ref()
                .map(|held| held.on(node))
                .unwrap_or_default();
            let now = held.as_ref().map(|held| held.on(node)).unwrap_or_default();
            if less.minus(now) != Resources::default() {
                room = Room::Freed;
            }
            self.give_back(node, less);
            for namespace in before.iter().map(Held::namespace) {
                self.cells.leave(node, namespace);
            }
        }
        if let Some(held) = held {
            self.claims.insert(uid.to_owned(), held);
        }
        room
    }

    fn give_back(&mut self, node: &str, less: Resources) {
        if let Some(used) = self.used.get_mut(node) {
            *used = used.minus(less);
            if *used == Resources::default() {
                self.used.remove(node);
            }
        }
    }
}

impl Held {
    /// The namespace of its VM.
    fn namespace(&self) -> &str {
        &self.claim.namespace
    }

    /// The nodes on which it counts.
    fn nodes(&self) -> BTreeSet<&str> {
        self.every().map(|claim| claim.node.as_str()).collect()
    }

    /// What it counts for on `node`: it can only be there once.
    fn on(&self, node: &str) -> Resources {
        let here = self.every().filter(|claim| claim.node == node);
        here.fold(Resources::default(), |most, claim| {
            most.at_least(claim.resources)
        })
    }

    /// The memory that was granted on `node`, if it counts there.
    fn granted_bytes(&self, node: &str) -> Option<u64> {
        let here = self.every().filter(|claim| claim.node == node);
        here.map(|claim| claim.granted_bytes).max()
    }

    fn every(&self) -> impl Iterator<Item = &Claim> {
        std::iter::once(&self.claim).chain(&self.doubted)
    }

    /// The claims that stay in doubt when another is decided.
    fn in_doubt(&self) -> Vec<Claim> {
        let mut doubted = self.doubted.clone();
        if self.certainty == Certainty::Doubtful {
            doubted.retain(|claim| *claim != self.claim);
            doubted.push(self.claim.clone());
        }
        doubted
    }
}

#[cfg(test)]
mod tests;
