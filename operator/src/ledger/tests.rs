//! What is counted, until when, and that it is counted once.

use super::{Claim, Ledger, Room};
use crate::resources::Resources;

fn claim(node: &str, epoch: i64) -> Claim {
    let resources = Resources {
        memory_bytes: 64,
        cpu_millicores: 250,
        vms: 1,
    };
    Claim::decided(node, "lab", epoch, resources)
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
    let used = |ledger: &Ledger| (ledger.used("n1").vms, ledger.used("n2").vms);
    assert_eq!(used(&ledger), (1, 1), "either may stand");
    assert_eq!(ledger.used_by_others("n1", "lab", "u1").resources.vms, 0);
    // The write was refused, since the first one had been done.
    assert_eq!(ledger.forget("u1", 1), Room::Freed);
    assert_eq!(used(&ledger), (1, 0));
    assert!(!ledger.holds("u1", 1));
    ledger.assume("u1", &claim("n2", 1));
    assert_eq!(ledger.observe("u1", 1, Some(&claim("n2", 1))), Room::Freed);
    assert_eq!(used(&ledger), (0, 1), "it is known now");
}

#[test]
fn what_is_held_on_a_node_is_known_while_another_decision_is_under_way() {
    let mut ledger = Ledger::default();
    ledger.assume("u1", &claim("n1", 1));
    ledger.doubt("u1", 1);
    ledger.assume("u1", &claim("n2", 1));
    for node in ["n1", "n2"] {
        assert_eq!(ledger.granted_bytes("u1", node), Some(64));
    }
    assert_eq!(ledger.granted_bytes("u1", "n3"), None);
}

#[test]
fn what_was_written_down_counts_until_it_is_written_otherwise() {
    let of = |memory_bytes| Resources {
        memory_bytes,
        ..claim("n1", 1).resources
    };
    let seen = |wanted, recorded: Option<u64>, known| {
        let claim = Claim::seen("n1", "lab", 1, of(wanted), recorded.map(of), known);
        (claim.resources.memory_bytes, claim.granted_bytes)
    };
    assert_eq!(seen(64, Some(64), None), (64, 64));
    assert_eq!(seen(96, Some(64), None), (96, 64), "it asks for more");
    assert_eq!(seen(96, Some(64), Some(64)), (96, 64));
    assert_eq!(seen(96, Some(64), Some(96)), (96, 96), "a write under way");
    assert_eq!(seen(32, Some(64), Some(64)), (64, 64), "it asks for less");
    assert_eq!(seen(96, None, None), (96, 96), "by an older version");
    assert_eq!(seen(96, None, Some(64)), (96, 64));
    assert_eq!(seen(32, None, Some(64)), (32, 32));
}

#[test]
fn deciding_for_the_node_in_doubt_counts_once() {
    let mut ledger = Ledger::default();
    for _ in 0..3 {
        ledger.assume("u1", &claim("n1", 1));
        ledger.doubt("u1", 1);
    }
    assert_eq!(ledger.used("n1").vms, 1);
    assert_eq!(ledger.remove("u1"), Room::Freed);
    assert_eq!(ledger.used("n1"), Resources::default());
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
