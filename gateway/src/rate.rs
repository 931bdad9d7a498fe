//! The rate of one VM: bytes of bodies both ways, each of which takes its part of a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentvm_policy::budget;
use tokio::time::Instant;

/// A bucket that all streams of a VM draw from.
///
/// It holds the instant at which everything that was taken has been paid for. What comes is handed
/// on at once, and the next piece of any stream waits until then.
#[derive(Debug)]
pub(crate) struct Rate {
    began: Instant,
    paid_ns: AtomicU64,
}

impl Rate {
    /// Full, from `now` on.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            began: now,
            paid_ns: AtomicU64::new(0),
        }
    }

    /// Takes `bytes`, at `per_second`.
    pub(crate) fn take(&self, bytes: u64, per_second: u64, now: Instant) {
        let now_ns = self.since_began(now);
        let cost = cost_ns(bytes, per_second);
        let later = |paid: u64| Some(paid.max(now_ns).saturating_add(cost));
        let _never_none = self
            .paid_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Until when the next piece waits; `None` where it does not.
    pub(crate) fn waits_until(&self, now: Instant) -> Option<Instant> {
        let ahead_ns = self.since_began(now).saturating_add(burst_ns());
        let paid_ns = self.paid_ns.load(Ordering::Relaxed);
        let wait = Duration::from_nanos(paid_ns.checked_sub(ahead_ns)?);
        (!wait.is_zero()).then(|| now + wait)
    }

    fn since_began(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.began))
    }
}

/// How far ahead of its rate a VM may be.
fn burst_ns() -> u64 {
    nanos(budget::EGRESS_BURST.duration())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The time that `bytes` take: never more than an hour, so that a slow rate is not a stop for good.
fn cost_ns(bytes: u64, per_second: u64) -> u64 {
    let second = Duration::from_secs(1).as_nanos();
    let cost = u128::from(bytes) * second / u128::from(per_second.max(1));
    let hour = Duration::from_hours(1).as_nanos();
    u64::try_from(cost.min(hour)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;

    #[test]
    fn a_vm_has_its_rate_over_any_long_time_and_is_ahead_of_it_by_a_burst_at_most() {
        let began = Instant::now();
        let (rate, mut now, mut bytes) = (Rate::new(began), began, 0);
        while now < began + Duration::from_secs(10) {
            if let Some(until) = rate.waits_until(now) {
                now = until;
            } else {
                rate.take(16 * KIB, 1_024 * KIB, now);
                bytes += 16 * KIB;
            }
        }
        let fair = 10 * 1_024 * KIB;
        let ahead = budget::EGRESS_BURST.value * 1_024 * KIB / 1_000 + 16 * KIB;
        assert!((fair..=fair + ahead).contains(&bytes), "{bytes}");
    }

    #[test]
    fn what_was_not_used_is_not_saved() {
        let began = Instant::now();
        let rate = Rate::new(began);
        let later = began + Duration::from_secs(1_000);
        rate.take(1_024 * KIB, 1_024 * KIB, later);
        let burst = budget::EGRESS_BURST.duration();
        assert_eq!(
            rate.waits_until(later),
            Some(later + Duration::from_secs(1) - burst)
        );
    }

    #[test]
    fn odd_numbers_neither_panic_nor_stop_a_vm_for_good() {
        let began = Instant::now();
        let rate = Rate::new(began);
        rate.take(u64::MAX, 0, began);
        let until = rate.waits_until(began).unwrap();
        assert!(until <= began + Duration::from_hours(1));
        assert_eq!(rate.waits_until(began + Duration::from_mins(61)), None);
    }
}
