//! CPU time: how much a VM has used, and whether it has to wait before it uses more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentvm_policy::budget;
use tokio::time::Instant;

use super::quota::Quota;
use crate::guards::{Guard, is_on};

/// What filling a MiB of memory for the first time takes, when the system has to find every page.
const FILLED_MIB_NANOS: u64 = budget::FILLED_MIB_COST.value;
/// What a unit of fuel takes then, where each store is into another page.
const STORED_NANOS: u64 = budget::STORED_FUEL_COST.value;
/// How much of its rate a VM may save up, and use in one interval.
const BURST_MILLIS: u64 = budget::CPU_BURST.value;
/// The longest interval.
const YIELD_FUEL: u64 = budget::YIELD_FUEL.value;

/// The CPU time of one VM. Whoever works for the VM charges it here, on whatever thread.
#[derive(Debug)]
pub(crate) struct Cpu {
    used_ns: AtomicU64,
    throttled_ns: AtomicU64,
    /// The moment from which the quota counts time.
    origin: Instant,
    /// Taken twice for each poll of a guest, and for nothing that takes long.
    quota: Mutex<Quota>,
    /// Since when the VM waits for its quota, if it does.
    paused_since: Mutex<Option<Instant>>,
    /// The memory that the VM may have.
    memory_bytes: u64,
    /// Fuel after which it gives way.
    interval: AtomicU64,
}

impl Cpu {
    pub(super) fn new(millicores: u64, memory_bytes: u64) -> Self {
        Self {
            memory_bytes,
            interval: AtomicU64::new(interval(millicores, memory_bytes)),
            used_ns: AtomicU64::new(0),
            throttled_ns: AtomicU64::new(0),
            origin: Instant::now(),
            quota: Mutex::new(Quota::new(millicores, 0)),
            paused_since: Mutex::default(),
        }
    }

    /// Books `used` and takes it out of the quota.
    pub(super) fn charge(&self, used: Duration) {
        self.used_ns.fetch_add(nanos(used), Relaxed);
        if is_on(Guard::CpuQuota) {
            self.quota().spend(used, self.now_ns());
        }
    }

    pub(crate) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Relaxed))
    }

    /// How long the VM has to wait before it may go on; `None` is now.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let mut quota = self.quota();
        if quota.is_over() {
            quota.wait(self.now_ns())
        } else {
            None // without reading the clock
        }
    }

    /// Sets the quota from now on.
    pub(crate) fn set_millicores(&self, millicores: u64) {
        self.quota().set_millicores(millicores, self.now_ns());
        let interval = interval(millicores, self.memory_bytes);
        self.interval.store(interval, Relaxed);
    }

    /// The fuel after which the VM gives way, at its present rate.
    pub(crate) fn interval(&self) -> u64 {
        self.interval.load(Relaxed)
    }

    /// The quota that holds now.
    pub(crate) fn millicores(&self) -> u64 {
        self.quota().millicores()
    }

    /// The VM waits for its quota from now on.
    pub(crate) fn begin_pause(&self) {
        *self.paused_since() = Some(Instant::now());
    }

    /// The VM does not wait any more, if it did.
    pub(crate) fn end_pause(&self) {
        if let Some(since) = self.paused_since().take() {
            self.throttled_ns.fetch_add(nanos(since.elapsed()), Relaxed);
        }
    }

    /// How long it has waited in all, the present wait included.
    pub(super) fn throttled(&self) -> Duration {
        let now = self
            .paused_since()
            .map(|since| since.elapsed())
            .unwrap_or_default();
        Duration::from_nanos(self.throttled_ns.load(Relaxed)) + now
    }

    fn now_ns(&self) -> u64 {
        nanos(self.origin.elapsed())
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paused_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paused_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The fuel after which a VM gives way.
///
/// Most fuel is used up in a fraction of a millisecond. Who stores into a page that was never
/// stored into makes the system find it: a VM for which all of its memory takes more than it may
/// save up could use much more than its rate between two looks at its quota, and gives way sooner.
fn interval(millicores: u64, memory_bytes: u64) -> u64 {
    let may_take = millicores.saturating_mul(BURST_MILLIS * 1_000);
    let all = (memory_bytes >> 20).saturating_mul(FILLED_MIB_NANOS);
    if all <= may_take || !is_on(Guard::ShortIntervals) {
        YIELD_FUEL
    } else {
        (may_take / STORED_NANOS).clamp(1, YIELD_FUEL)
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_could_store_too_much_in_an_interval_has_a_shorter_one() {
        for (millicores, mib, expected) in [
            (250, 64, YIELD_FUEL),
            (250, 555, YIELD_FUEL),
            (250, 556, 416_666),
            (1_000, 1_024, YIELD_FUEL),
            (100, 1_024, 166_666),
            (10, 22, YIELD_FUEL),
            (10, 1_024, 16_666),
            (0, 1_024, 1),
            (u64::MAX, u64::MAX >> 20, YIELD_FUEL),
        ] {
            assert_eq!(
                interval(millicores, mib << 20),
                expected,
                "{millicores}m {mib} MiB"
            );
        }
    }

    #[test]
    fn an_interval_follows_the_rate() {
        let cpu = Cpu::new(10, 1 << 30);
        assert_eq!(cpu.interval(), 16_666);
        cpu.set_millicores(1_000);
        assert_eq!(cpu.interval(), YIELD_FUEL);
    }
}
