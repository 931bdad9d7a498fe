//! One VM's log, with queues that the test reads itself.

use super::lane::{Came, End, lane};

use super::*;
use crate::guards::{Guard, switch_off};

/// A log and the far ends of its queues.
struct Desk {
    log: Arc<VmLog>,
    file: End<Job>,
    stdout: End<Printed>,
    paid: Arc<Mutex<Duration>>,
}

/// Everything that waits there, and goes on waiting as far as bounds are concerned.
fn all_of<T>(end: &End<T>) -> Vec<T> {
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    while end.take(Some(Instant::now()), &mut batch) == Came::Batch {
        all.append(&mut batch);
    }
    all
}

const PLENTY: u64 = 1 << 30;

/// The most of one VM that waits.
const MAX_WAITING_BYTES: usize = agentvm_policy::budget::WAITING_LOG_BYTES.usize();

fn limits(rate: u64, total: u64) -> Limits {
    Limits {
        log_rate_bytes_per_second: rate,
        log_total_bytes: total,
        ..Limits::default()
    }
}

impl Desk {
    fn with(limits: &Limits) -> Self {
        let (to_file, file) = lane();
        let (to_stdout, stdout) = lane();
        let queues = Queues {
            file: to_file,
            stdout: to_stdout,
        };
        let names = Names {
            namespace: "team-a".to_owned(),
            vm: "heron".to_owned(),
            uid: "u-1".to_owned(),
        };
        let log = VmLog::new(names, limits, None, queues);
        let paid: Arc<Mutex<Duration>> = Arc::default();
        let payer = paid.clone();
        log.charge_to(move |used| *payer.lock().unwrap() += used);
        Self {
            log,
            file,
            stdout,
            paid,
        }
    }

    fn write(&self, bytes: &[u8]) {
        self.log.write(Stream::Stdout, bytes, Instant::now());
    }

    /// Lines that wait in both queues.
    fn queued(&self) -> (usize, usize) {
        let jobs = all_of(&self.file);
        let lines = jobs.iter().filter(|job| matches!(job, Job::Line(..)));
        (lines.count(), all_of(&self.stdout).len())
    }

    fn paid(&self) -> Duration {
        *self.paid.lock().unwrap()
    }
}

#[test]
fn b11_what_is_over_the_total_is_dropped_counted_and_not_looked_at() {
    let desk = Desk::with(&limits(PLENTY, 10));
    desk.write(b"one\ntwo\n");
    desk.write(&b"\n".repeat(65_536));
    assert_eq!(desk.queued(), (4, 4), "two lines, and two empty ones");
    let counts = desk.log.counts();
    assert_eq!(counts.bytes, 8 + 65_536);
    assert_eq!(counts.dropped, 65_536 - 2);
    assert_eq!(counts.taken, 10);
}

#[test]
fn a_total_that_is_raised_holds_at_once() {
    let desk = Desk::with(&limits(PLENTY, 4));
    desk.write(b"one\ntwo\n");
    desk.log.set_limits(&limits(PLENTY, 8));
    desk.write(b"six\nten\n");
    assert_eq!(desk.queued(), (2, 2));
    assert_eq!(desk.log.counts().dropped, 8);
}

#[test]
fn b11_lines_for_which_there_is_no_room_are_not_encoded_and_cost_nothing() {
    let desk = Desk::with(&limits(PLENTY, PLENTY));
    for _ in 0..8 {
        desk.write(&b"\n".repeat(8_192));
    }
    let before = (desk.paid(), desk.log.counts().dropped);
    desk.write(&b"\n".repeat(60_000));
    assert_eq!(desk.paid(), before.0);
    assert_eq!(desk.log.counts().dropped, before.1 + 60_000);
    assert!(desk.log.to_file.bytes() < MAX_WAITING_BYTES + 4_096);
    let (lines, _) = desk.queued();
    assert_eq!(wide(lines) + before.1, 65_536, "all are written or counted");
}

#[test]
fn a_burst_of_as_much_as_a_second_may_have_is_kept_whole() {
    let desk = Desk::with(&limits(64 << 10, PLENTY));
    for _ in 0..8 {
        desk.write(&b"a line of text!\n".repeat(512));
    }
    assert_eq!(desk.queued(), (4_096, 4_096));
    assert_eq!(desk.log.counts().dropped, 0);
}

#[test]
fn b11_one_call_makes_so_many_lines_and_no_more() {
    let desk = Desk::with(&limits(PLENTY, PLENTY));
    desk.write(&b"\n".repeat(65_536));
    assert!(desk.log.to_file.bytes() < MAX_WRITE_BYTES + 4_096);
    let (lines, _) = desk.queued();
    assert_eq!(desk.log.counts().dropped, 65_536 - wide(lines));
    desk.write(b"the next call\n");
    assert_eq!(desk.queued(), (1, 1));
}

fn what_a_hundred_lines_cost() -> Duration {
    let desk = Desk::with(&limits(PLENTY, PLENTY));
    desk.write(&b"the same again\n".repeat(100));
    assert_eq!(desk.queued(), (100, 100));
    desk.paid()
}

#[test]
fn b11_who_writes_pays_for_the_writing() {
    // Each has an envelope of more than 100 bytes.
    assert!(what_a_hundred_lines_cost() >= Duration::from_micros(240));
    assert_eq!(
        switch_off(Guard::LogCharge, what_a_hundred_lines_cost),
        Duration::ZERO
    );
}

#[test]
fn a_line_that_wakes_the_writers_costs_more_than_one_among_others() {
    let desk = Desk::with(&limits(PLENTY, PLENTY));
    desk.write(b"first\n");
    let first = desk.paid();
    desk.write(b"third\n");
    let second = desk.paid().saturating_sub(first);
    assert!(first > second * 4, "{first:?} and {second:?}");
}
