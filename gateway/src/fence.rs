//! Fencing: a VM whose deadline passes reaches nobody any more, whether or not an agent is alive
//! to say so.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::namespaces::Namespaces;

/// The longest sleep: timers stand still while the machine is suspended, deadlines do not.
const RECHECK: Duration = Duration::from_secs(1);

/// Closes VMs as their deadlines pass. Never ends.
pub(crate) async fn enforce(namespaces: &Namespaces) {
    loop {
        let now_ms = boottime_ms();
        let (over, next) = namespaces.fence(now_ms);
        for uid in over {
            tracing::warn!(%uid, "fencing deadline passed: VM reaches nobody");
        }
        match next {
            None => namespaces.deadlines_moved().await,
            Some(next_ms) => {
                let wait = Duration::from_millis(next_ms.saturating_sub(now_ms)).min(RECHECK);
                let _moved_or_due = tokio::time::timeout(wait, namespaces.deadlines_moved()).await;
            }
        }
    }
}

/// Milliseconds of `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
fn boottime_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1000 + nanos / 1_000_000
}
