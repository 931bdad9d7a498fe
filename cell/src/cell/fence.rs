//! Fencing: a VM whose deadline passes is stopped, whether or not an agent is alive to say so.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::vms::Vms;

/// The longest sleep: timers stand still while the machine is suspended, deadlines do not.
const RECHECK: Duration = Duration::from_secs(1);

/// Stops VMs as their deadlines pass. Never ends.
pub(super) async fn enforce(vms: &Vms) {
    loop {
        let deadlines_moved = vms.deadlines_moved();
        let now_ms = boottime_ms();
        for uid in vms.overdue(now_ms) {
            tracing::warn!(%uid, "fencing deadline passed: VM is stopped");
            vms.fence(&uid);
        }
        match vms.next_deadline() {
            None => deadlines_moved.await,
            Some(deadline_ms) => {
                let wait = Duration::from_millis(deadline_ms.saturating_sub(now_ms)).min(RECHECK);
                let _moved_or_due = tokio::time::timeout(wait, deadlines_moved).await;
            }
        }
    }
}

/// Milliseconds of `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
pub(super) fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}
