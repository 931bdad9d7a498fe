//! CPU time: how much a VM has used, and whether it has to wait before it uses more.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::quota::Quota;
use crate::guards::{Guard, is_on};

const FILLED_MIB_NANOS: u64 = agentvm_policy::budget::FILLED_MIB_COST.value;

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
}

impl Cpu {
    pub(super) fn new(millicores: u64) -> Self {
        Self {
            used_ns: AtomicU64::new(0),
            throttled_ns: AtomicU64::new(0),
            origin: Instant::now(),
            quota: Mutex::new(Quota::new(millicores, 0)),
            paused_since: Mutex::default(),
        }
    }

    /// Books `used` and takes it out of the quota of a VM that holds `memory_bytes`.
    pub(super) fn charge(&self, used: Duration, memory_bytes: u64) {
        self.used_ns.fetch_add(nanos(used), Relaxed);
        if is_on(Guard::CpuQuota) {
            let step = longest_step(memory_bytes);
            self.quota().spend(used, step, self.now_ns());
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

/// What the longest step takes that can't be interrupted: filling all of the memory for the
/// first time, when the system has to find every page. Measured at 0.38 to 0.45 s for a GiB.
fn longest_step(memory_bytes: u64) -> Duration {
    Duration::from_nanos((memory_bytes >> 20).saturating_mul(FILLED_MIB_NANOS))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
