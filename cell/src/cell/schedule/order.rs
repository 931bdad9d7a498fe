//! Who is next: whoever has used the least, and no credit for sleeping.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::guards::{Guard, is_on};

/// How far behind those that were busy a task may be that was not: enough to go before them when
/// it wakes, and too little to keep them waiting for long.
const SLACK: Duration = Duration::from_millis(16);

/// What is ready, ordered by the CPU time that it has used.
///
/// That time is virtual: a task that slept, or is new, counts as having used nearly as much as the
/// others have at least, or it could run alone for as long as it slept.
#[derive(Debug)]
pub(super) struct Order<T> {
    ready: BinaryHeap<Ready<T>>,
    /// What whoever was next last had used; never goes back.
    floor: Duration,
    pushed: u64,
}

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self {
            ready: BinaryHeap::new(),
            floor: Duration::ZERO,
            pushed: 0,
        }
    }
}

impl<T> Order<T> {
    /// What somebody who has `used` so much counts as, now that it is ready again.
    pub(super) fn counted(&self, used: Duration) -> Duration {
        if is_on(Guard::SleepEarnsNothing) {
            used.max(self.floor.saturating_sub(SLACK))
        } else {
            used
        }
    }

    /// Nobody was ready for that long, in which each could have used what it is promised: whoever
    /// uses less than that is behind, alone in its cell as well, and goes before those who compute all
    /// the time in other cells.
    pub(super) fn rest(&mut self, over: Duration) {
        if is_on(Guard::RestCounts) {
            self.floor = self.floor.saturating_add(over);
        }
    }

    /// Whether somebody who counts as having `used` so much is behind all that were busy.
    pub(super) fn is_behind(&self, used: Duration) -> bool {
        used < self.floor
    }

    /// `what` is ready and counts as having `used` so much.
    pub(super) fn push(&mut self, what: T, used: Duration) {
        let turn = self.pushed;
        self.pushed += 1;
        let first = if is_on(Guard::LeastUsedFirst) {
            used
        } else {
            Duration::ZERO
        };
        self.ready.push(Ready {
            before: Reverse((first, turn)),
            used,
            what,
        });
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<T> {
        let Ready { used, what, .. } = self.ready.pop()?;
        self.floor = self.floor.max(used);
        Some(what)
    }

    /// The next one that `fits`; the others stay.
    pub(super) fn pop_where(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut passed = Vec::new();
        let found = loop {
            match self.ready.pop() {
                Some(next) if fits(&next.what) => break Some(next.what),
                Some(next) => passed.push(next),
                None => break None,
            }
        };
        self.ready.extend(passed);
        found
    }

    /// How many are ready.
    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }
}

#[derive(Debug)]
struct Ready<T> {
    /// Of those that have used the same, the one that waits longest.
    before: Reverse<(Duration, u64)>,
    used: Duration,
    what: T,
}

impl<T> Ord for Ready<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.before.cmp(&other.before)
    }
}

impl<T> PartialOrd for Ready<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Ready<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Ready<T> {}
