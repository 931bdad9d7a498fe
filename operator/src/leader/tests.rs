//! The election as sentences.

use std::time::{Duration, Instant};

use super::{Act, Election, Record, Timings};

fn record(holder: &str, version: u32) -> Record {
    Record {
        holder: holder.into(),
        duration: Duration::from_secs(15),
        version: version.to_string(),
    }
}

fn candidate(name: &str) -> Election {
    Election::new(name.into(), Timings::default())
}

fn seconds(value: u64) -> Duration {
    Duration::from_secs(value)
}

#[test]
fn a_free_lease_is_taken_at_once() {
    let now = Instant::now();
    assert_eq!(candidate("a").read(None, now), Act::Create);
    assert_eq!(candidate("a").read(Some(record("", 1)), now), Act::Take);
}

#[test]
fn anothers_lease_is_taken_only_after_it_stood_unchanged_for_its_duration() {
    let start = Instant::now();
    let mut a = candidate("a");
    assert_eq!(a.read(Some(record("b", 1)), start), Act::Wait);
    assert_eq!(a.read(Some(record("b", 1)), start + seconds(14)), Act::Wait);
    assert_eq!(a.read(Some(record("b", 2)), start + seconds(14)), Act::Wait);
    assert_eq!(a.read(Some(record("b", 2)), start + seconds(28)), Act::Wait);
    assert_eq!(a.read(Some(record("b", 2)), start + seconds(29)), Act::Take);
}

#[test]
fn nobody_leads_before_the_write_succeeded() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.read(None, start);
    assert!(!a.leads(start));
    a.wrote(start);
    assert!(a.leads(start));
}

#[test]
fn a_leader_stops_before_another_may_start() {
    let start = Instant::now();
    let (mut a, mut b) = (candidate("a"), candidate("b"));
    a.read(None, start);
    a.wrote(start);
    b.read(Some(record("a", 1)), start);
    let timings = Timings::default();
    assert!(a.leads(start + Duration::from_millis(9_999)));
    assert!(!a.leads(start + timings.renew));
    assert_eq!(
        b.read(Some(record("a", 1)), start + timings.renew),
        Act::Wait
    );
    assert_eq!(
        b.read(Some(record("a", 1)), start + timings.lease),
        Act::Take
    );
}

#[test]
fn a_renewal_counts_from_when_it_was_sent() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.wrote(start);
    assert_eq!(a.read(Some(record("a", 1)), start + seconds(9)), Act::Renew);
    a.wrote(start + seconds(2));
    assert!(a.leads(start + seconds(11)));
    assert!(!a.leads(start + seconds(12)));
}

#[test]
fn a_leader_who_reads_another_name_leads_no_more() {
    let start = Instant::now();
    let mut a = candidate("a");
    a.wrote(start);
    assert_eq!(a.read(Some(record("b", 2)), start + seconds(1)), Act::Wait);
    assert!(!a.leads(start + seconds(1)));
}

#[test]
fn a_lease_that_lasts_no_time_is_over() {
    let start = Instant::now();
    let mut a = candidate("a");
    let zero = Record {
        holder: "b".into(),
        duration: Duration::ZERO,
        version: "1".into(),
    };
    assert_eq!(a.read(Some(zero), start), Act::Take);
}
