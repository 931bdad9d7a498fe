//! A token bucket: bytes per second, with a burst of one second.

use std::time::Instant;

/// How many bytes may be written now.
#[derive(Debug)]
pub(super) struct Bucket {
    bytes_per_second: u64,
    tokens: u64,
    filled: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn full(bytes_per_second: u64, now: Instant) -> Self {
        Self {
            bytes_per_second,
            tokens: bytes_per_second,
            filled: now,
        }
    }

    /// Changes the rate; what was saved up beyond the new burst is lost.
    pub(super) fn set_rate(&mut self, bytes_per_second: u64, now: Instant) {
        self.fill(now);
        self.bytes_per_second = bytes_per_second;
        self.tokens = self.tokens.min(bytes_per_second);
    }

    /// Takes up to `wanted` bytes; returns how many there were.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        self.fill(now);
        let taken = usize::try_from(self.tokens)
            .unwrap_or(usize::MAX)
            .min(wanted);
        self.tokens -= u64::try_from(taken).unwrap_or(self.tokens);
        taken
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled);
        let earned = elapsed.as_nanos() * u128::from(self.bytes_per_second) / 1_000_000_000;
        // Time too short to earn a byte is not lost: it counts towards the next.
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.tokens = self
                .tokens
                .saturating_add(earned)
                .min(self.bytes_per_second);
            self.filled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_is_granted_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::full(1000, start);
        assert_eq!(bucket.take(5000, start), 1000);
        assert_eq!(bucket.take(1, start), 0);
        assert_eq!(bucket.take(5000, start + Duration::from_millis(100)), 100);
        assert_eq!(bucket.take(5000, start + Duration::from_hours(1)), 1000);
    }

    #[test]
    fn a_new_rate_holds_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::full(1000, start);
        bucket.set_rate(10, start);
        assert_eq!(bucket.take(5000, start), 10);
        bucket.set_rate(2000, start);
        assert_eq!(bucket.take(5000, start + Duration::from_millis(500)), 1000);
    }

    #[test]
    fn a_rate_of_nothing_grants_nothing() {
        let start = Instant::now();
        let mut bucket = Bucket::full(0, start);
        assert_eq!(bucket.take(1, start + Duration::from_hours(1)), 0);
    }

    #[test]
    fn many_short_waits_earn_as_much_as_a_long_one() {
        let start = Instant::now();
        let mut bucket = Bucket::full(1000, start);
        bucket.take(1000, start);
        let steps = (1..=10_000).map(|step| start + Duration::from_micros(100 * step));
        let taken: usize = steps.map(|now| bucket.take(1, now)).sum();
        assert_eq!(taken, 1000);
    }
}
