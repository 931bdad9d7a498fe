//! How much a VM may still write: so much each second, and so much in all.

use std::time::Instant;

use super::bucket::Bucket;
use crate::guards::{Guard, is_on};

/// What is left of `limits.logRate` and `limits.logTotal`.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Bucket,
    total: u64,
    taken: u64,
}

impl Allowance {
    /// Nothing is written yet.
    pub(super) fn new(rate: u64, total: u64, now: Instant) -> Self {
        Self {
            rate: Bucket::full(rate, now),
            total,
            taken: 0,
        }
    }

    /// Other limits hold from now on; what was written counts.
    pub(super) fn set(&mut self, rate: u64, total: u64, now: Instant) {
        self.rate.set_rate(rate, now);
        self.total = total;
    }

    /// Takes up to `wanted` bytes; returns how many there were.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        let left = if is_on(Guard::LogTotal) {
            self.total.saturating_sub(self.taken)
        } else {
            u64::MAX
        };
        let most = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
        let granted = self.rate.take(most, now);
        self.taken = self.taken.saturating_add(super::wide(granted));
        granted
    }

    /// Bytes that count against the total: those that the rate let pass.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guards::switch_off;

    fn taken_of_1500(wanted: usize) -> usize {
        let start = Instant::now();
        let mut allowance = Allowance::new(1_000, 1_500, start);
        (0..10)
            .map(|second| allowance.take(wanted, start + Duration::from_secs(second)))
            .sum()
    }

    #[test]
    fn b11_what_is_written_in_all_is_bounded_however_slowly_it_comes() {
        assert_eq!(taken_of_1500(400), 1_500);
        assert_eq!(taken_of_1500(5_000), 1_500);
        assert!(switch_off(Guard::LogTotal, || taken_of_1500(5_000)) > 1_500);
    }

    #[test]
    fn bytes_over_the_rate_do_not_count_against_the_total() {
        let start = Instant::now();
        let mut allowance = Allowance::new(10, 100, start);
        assert_eq!(allowance.take(90, start), 10);
        assert_eq!(allowance.taken(), 10);
    }

    #[test]
    fn a_higher_total_lets_it_go_on_and_a_lower_one_stops_it() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut allowance = Allowance::new(1_000, 1_000, start);
        assert_eq!(allowance.take(1_000, start), 1_000);
        assert_eq!(allowance.take(1, later(1)), 0);
        allowance.set(1_000, 1_200, later(1));
        assert_eq!(allowance.take(500, later(2)), 200);
        allowance.set(1_000, 64, later(2));
        assert_eq!(allowance.take(1, later(3)), 0);
        assert_eq!(allowance.taken(), 1_200);
    }
}
