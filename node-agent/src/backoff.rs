//! How long to wait before trying again: doubling, bounded, forgotten after success.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

/// The bounds of one kind of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

/// Between a run's end and the next run.
pub const RESTART: Schedule = Schedule {
    first: Duration::from_secs(10),
    longest: Duration::from_mins(5),
};
/// Between attempts to fetch a module or to read a `ConfigMap`.
pub const FETCH: Schedule = Schedule {
    first: Duration::from_secs(2),
    longest: Duration::from_mins(5),
};
/// Between attempts to reach the warden, a cell or the API server.
pub const CALL: Schedule = Schedule {
    first: Duration::from_millis(200),
    longest: Duration::from_secs(30),
};

/// Parts of a tenth of a wait, of which each who waits is spared some.
const PARTS: u32 = 1024;

/// A run that lasted this long clears what earlier failures cost.
pub const STABLE_AFTER: Duration = Duration::from_mins(10);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// A history of `failures` in a row.
    pub const fn after(failures: u32) -> Self {
        Self { failures }
    }

    /// One more failure.
    #[must_use]
    pub const fn failed(self) -> Self {
        Self {
            failures: self.failures.saturating_add(1),
        }
    }

    /// The wait that the last failure costs; zero where there was none.
    pub fn delay(self, schedule: Schedule) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        schedule.first.saturating_mul(factor).min(schedule.longest)
    }

    /// The same less up to a tenth, which is another part for each of those who wait: VMs that end
    /// together, such as with their cell, do not all start together.
    pub fn delay_of(self, schedule: Schedule, who: &str) -> Duration {
        let mut hasher = DefaultHasher::new();
        (who, self.failures).hash(&mut hasher);
        let part = u32::try_from(hasher.finish() % u64::from(PARTS)).unwrap_or_default();
        let delay = self.delay(schedule);
        delay.saturating_sub(delay / 10 / PARTS * part)
    }

    /// The history after a run of `ran`: one more failure, or the first where it was stable.
    #[must_use]
    pub fn after_run(self, ran: Duration) -> Self {
        if ran >= STABLE_AFTER {
            Self::after(1)
        } else {
            self.failed()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn restart_waits_double_from_10_s_to_300_s() {
        let waits: Vec<u64> = (0..9)
            .map(|failures| Backoff::after(failures).delay(RESTART).as_secs())
            .collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn those_who_wait_together_wait_differently_and_nobody_longer() {
        for failures in 1..8 {
            let backoff = Backoff::after(failures);
            let longest = backoff.delay(RESTART);
            let waits: BTreeSet<Duration> = (0..100)
                .map(|vm| backoff.delay_of(RESTART, &format!("uid-{vm}")))
                .collect();
            assert!(waits.len() > 90, "{waits:?}");
            assert!(*waits.last().unwrap() <= longest, "{waits:?}");
            assert!(*waits.first().unwrap() >= longest * 9 / 10, "{waits:?}");
        }
        assert_eq!(
            Backoff::default().delay_of(RESTART, "uid-a"),
            Duration::ZERO
        );
    }

    #[test]
    fn a_huge_count_of_failures_stays_at_the_longest_wait() {
        for failures in [31, 32, 33, 64, u32::MAX] {
            assert_eq!(Backoff::after(failures).delay(RESTART), RESTART.longest);
        }
        assert_eq!(Backoff::after(u32::MAX).failed(), Backoff::after(u32::MAX));
    }

    #[test]
    fn ten_minutes_of_running_clear_the_history() {
        let history = Backoff::after(7);
        assert_eq!(
            history.after_run(Duration::from_mins(10)),
            Backoff::after(1)
        );
        assert_eq!(
            history.after_run(Duration::from_secs(599)),
            Backoff::after(8)
        );
    }
}
