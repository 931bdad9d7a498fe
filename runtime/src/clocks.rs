//! The clocks a guest sees: coarse, and the monotonic one counting from the VM's start.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agentvm_policy::ClockGrant;
use tokio::time::Instant;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock};

/// Both clocks of one VM, which move in steps of what is granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    origin: Instant,
    step_ns: u64,
}

impl Clocks {
    /// Starts the monotonic clock at `origin`.
    pub(crate) fn new(origin: Instant, grant: Option<ClockGrant>) -> Self {
        let granted = grant.map_or(ClockGrant::COARSEST_NS, |grant| grant.resolution_ns);
        Self {
            origin,
            step_ns: granted.clamp(1, ClockGrant::COARSEST_NS),
        }
    }

    pub(crate) fn step_ns(&self) -> u64 {
        self.step_ns
    }

    /// Nanoseconds since one step before the VM's start: never zero, which Go's runtime
    /// takes for a broken clock.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        floor(nanos(self.origin.elapsed()), self.step_ns).saturating_add(self.step_ns)
    }

    /// Nanoseconds since 1970.
    pub(crate) fn realtime_ns(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        floor(nanos(now), self.step_ns)
    }

    /// A duration as coarse as the clocks are.
    pub(crate) fn coarse(&self, duration: Duration) -> u64 {
        floor(nanos(duration), self.step_ns)
    }

    /// The first moment at which the monotonic clock shows `at_ns` or later; `None` is
    /// further away than can be represented.
    pub(crate) fn when_monotonic(&self, at_ns: u64) -> Option<Instant> {
        let since_origin = ceil(at_ns, self.step_ns).saturating_sub(self.step_ns);
        self.origin.checked_add(Duration::from_nanos(since_origin))
    }

    /// The first moment after which `duration_ns` have passed by the monotonic clock.
    pub(crate) fn after(&self, duration_ns: u64) -> Option<Instant> {
        self.when_monotonic(self.monotonic_ns().saturating_add(duration_ns))
    }
}

impl HostMonotonicClock for Clocks {
    fn resolution(&self) -> u64 {
        self.step_ns
    }

    fn now(&self) -> u64 {
        self.monotonic_ns()
    }
}

impl HostWallClock for Clocks {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(self.step_ns)
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.realtime_ns())
    }
}

fn floor(ns: u64, step: u64) -> u64 {
    ns - ns % step
}

fn ceil(ns: u64, step: u64) -> u64 {
    ns.checked_next_multiple_of(step).unwrap_or(u64::MAX)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_grant_both_clocks_move_in_milliseconds() {
        let clocks = Clocks::new(Instant::now(), None);
        assert_eq!(clocks.step_ns(), 1_000_000);
        assert_eq!(clocks.monotonic_ns() % 1_000_000, 0);
        assert_eq!(clocks.realtime_ns() % 1_000_000, 0);
    }

    #[test]
    fn a_grant_makes_the_step_finer_and_never_coarser_or_zero() {
        for (granted, step) in [(1, 1), (50_000, 50_000), (0, 1), (u64::MAX, 1_000_000)] {
            let clocks = Clocks::new(
                Instant::now(),
                Some(ClockGrant {
                    resolution_ns: granted,
                }),
            );
            assert_eq!(clocks.step_ns(), step);
        }
    }

    #[test]
    fn rounding_covers_the_ends_of_the_range() {
        assert_eq!(floor(1_999, 1_000), 1_000);
        assert_eq!(ceil(1_001, 1_000), 2_000);
        assert_eq!(ceil(2_000, 1_000), 2_000);
        assert_eq!(ceil(u64::MAX - 1, 1_000), u64::MAX);
    }

    #[test]
    fn a_wait_never_ends_before_the_clock_shows_it() {
        let clocks = Clocks::new(Instant::now(), None);
        let step = Duration::from_millis(1);
        assert_eq!(clocks.when_monotonic(1), Some(clocks.origin));
        assert_eq!(
            clocks.when_monotonic(2_000_001),
            Some(clocks.origin + 2 * step)
        );
    }

    #[test]
    fn the_monotonic_clock_is_never_zero() {
        assert!(Clocks::new(Instant::now(), None).monotonic_ns() >= 1_000_000);
    }
}
