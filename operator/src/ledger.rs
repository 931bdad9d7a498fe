//! Who holds what: the sum of the limits of the VMs assigned to each node.
//!
//! A claim is counted from the decision, before the write and before the watch shows it,
//! so that many VMs at once can't be promised the same room. An event older than that
//! decision does not take it back.

use std::collections::BTreeMap;

use crate::resources::Resources;

/// What one VM holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: String,
    /// How much.
    pub resources: Resources,
    /// The assignment's epoch.
    pub epoch: i64,
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

/// Every claim, by the VM's UID, and the sums by node.
#[derive(Debug, Default)]
pub struct Ledger {
    claims: BTreeMap<String, (Claim, Certainty)>,
    used: BTreeMap<String, Resources>,
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

    /// Whether this VM already holds a claim of that epoch or a later one that is not in doubt.
    pub fn holds(&self, uid: &str, epoch: i64) -> bool {
        self.claims.get(uid).is_some_and(|(claim, certainty)| {
            claim.epoch >= epoch && *certainty != Certainty::Doubtful
        })
    }

    /// Counts a decision from now on.
    pub fn assume(&mut self, uid: &str, claim: &Claim) {
        self.put(uid, claim, Certainty::Assumed);
    }

    /// Takes a decision back whose write was refused.
    pub fn forget(&mut self, uid: &str, epoch: i64) -> Room {
        match self.claims.get(uid) {
            Some((claim, Certainty::Assumed)) if claim.epoch == epoch => self.remove(uid),
            Some(_) | None => Room::Same,
        }
    }

    /// Keeps counting a decision whose write may or may not have happened, and allows another one.
    pub fn doubt(&mut self, uid: &str, epoch: i64) {
        if let Some((claim, certainty @ Certainty::Assumed)) = self.claims.get_mut(uid)
            && claim.epoch == epoch
        {
            *certainty = Certainty::Doubtful;
        }
    }

    /// Takes over what an object says: the epoch of its assignment (0 without one) and what it
    /// holds by it (`None` where it holds nothing: not assigned, or ended).
    pub fn observe(&mut self, uid: &str, epoch: i64, held: Option<&Claim>) -> Room {
        if let Some((claim, Certainty::Assumed | Certainty::Doubtful)) = self.claims.get(uid)
            && claim.epoch > epoch
        {
            return Room::Same;
        }
        match held {
            Some(claim) => self.put(uid, claim, Certainty::Observed),
            None => self.remove(uid),
        }
    }

    /// Drops everything that a VM holds.
    pub fn remove(&mut self, uid: &str) -> Room {
        let Some((claim, _)) = self.claims.remove(uid) else {
            return Room::Same;
        };
        self.give_back(&claim);
        Room::Freed
    }

    fn put(&mut self, uid: &str, claim: &Claim, certainty: Certainty) -> Room {
        let used = self.used.entry(claim.node.clone()).or_default();
        *used = used.plus(claim.resources);
        let Some((before, _)) = self
            .claims
            .insert(uid.to_owned(), (claim.clone(), certainty))
        else {
            return Room::Same;
        };
        self.give_back(&before);
        if before.node == claim.node && before.resources == claim.resources {
            Room::Same
        } else {
            Room::Freed
        }
    }

    fn give_back(&mut self, claim: &Claim) {
        if let Some(used) = self.used.get_mut(&claim.node) {
            *used = used.minus(claim.resources);
            if *used == Resources::default() {
                self.used.remove(&claim.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Claim, Ledger, Room};
    use crate::resources::Resources;

    fn claim(node: &str, epoch: i64) -> Claim {
        Claim {
            node: node.into(),
            resources: Resources {
                memory_bytes: 64,
                cpu_millicores: 250,
                vms: 1,
            },
            epoch,
        }
    }

    #[test]
    fn an_older_event_does_not_take_an_assumed_claim_back() {
        let mut ledger = Ledger::default();
        ledger.assume("u1", &claim("n1", 1));
        assert_eq!(ledger.observe("u1", 0, None), Room::Same);
        assert_eq!(ledger.used("n1").vms, 1);
    }

    #[test]
    fn an_end_at_the_assumed_epoch_gives_room_back() {
        let mut ledger = Ledger::default();
        ledger.assume("u1", &claim("n1", 1));
        assert_eq!(ledger.observe("u1", 1, None), Room::Freed);
        assert_eq!(ledger.used("n1"), Resources::default());
    }

    #[test]
    fn a_refused_write_is_forgotten_but_never_what_was_observed() {
        let mut ledger = Ledger::default();
        ledger.assume("u1", &claim("n1", 1));
        assert_eq!(ledger.forget("u1", 1), Room::Freed);
        // Another leader won: its assignment arrives before our refusal does.
        ledger.assume("u1", &claim("n1", 1));
        ledger.observe("u1", 1, Some(&claim("n2", 1)));
        assert_eq!(ledger.forget("u1", 1), Room::Same);
        assert_eq!((ledger.used("n1").vms, ledger.used("n2").vms), (0, 1));
    }

    #[test]
    fn a_doubtful_claim_counts_and_may_be_decided_again() {
        let mut ledger = Ledger::default();
        ledger.assume("u1", &claim("n1", 1));
        assert!(ledger.holds("u1", 1));
        ledger.doubt("u1", 1);
        assert!(!ledger.holds("u1", 1));
        assert_eq!(ledger.used("n1").vms, 1);
        ledger.assume("u1", &claim("n2", 1));
        assert_eq!((ledger.used("n1").vms, ledger.used("n2").vms), (0, 1));
    }

    #[test]
    fn a_new_epoch_moves_the_claim() {
        let mut ledger = Ledger::default();
        ledger.observe("u1", 1, Some(&claim("n1", 1)));
        ledger.assume("u1", &claim("n2", 2));
        assert_eq!(ledger.observe("u1", 1, Some(&claim("n1", 1))), Room::Same);
        assert_eq!((ledger.used("n1").vms, ledger.used("n2").vms), (0, 1));
    }

    #[test]
    fn removing_twice_frees_once() {
        let mut ledger = Ledger::default();
        ledger.observe("u1", 1, Some(&claim("n1", 1)));
        assert_eq!(ledger.remove("u1"), Room::Freed);
        assert_eq!(ledger.remove("u1"), Room::Same);
    }
}
