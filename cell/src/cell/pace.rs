//! Has starts wait where the tasks that control VMs take more of the processor than they should.
//!
//! Those tasks go before every guest of the node, so that a VM can be stopped and looked at whatever
//! others do. Most of their work is starting VMs: a namespace whose VMs come and go as fast as
//! somebody asks for them would take the time of everybody else's. So starts, and nothing but them,
//! wait until the thread of these tasks is back within its share.

use std::time::{Duration, Instant};

use agentvm_policy::budget;
use agentvm_runtime::thread_cpu;
use tokio::sync::Mutex;

use crate::guards::{Guard, is_on};

/// What the thread may use of a core while VMs are waiting to be started, in thousandths.
const MILLICORES: u64 = budget::CONTROL_MILLICORES.value;
/// The time for which that may be saved up.
const SAVED: Duration = budget::CONTROL_SAVED.duration();

/// The starts of a cell, in the order in which they were asked for.
#[derive(Debug)]
pub(super) struct Pace {
    /// Held by the one that is next.
    share: Mutex<Share>,
}

impl Pace {
    /// Nothing has been used. To be made and asked on the thread of the control tasks.
    pub(super) fn new() -> Self {
        Self {
            share: Mutex::new(Share::new(Instant::now(), thread_cpu())),
        }
    }

    /// Waits for its turn to start a VM.
    pub(super) async fn turn(&self) {
        let mut share = self.share.lock().await;
        while let Some(wait) = share.wait(Instant::now(), thread_cpu()) {
            tokio::time::sleep(wait).await;
        }
    }
}

/// What the thread may still use. Time is given to it, and what the thread has used so far.
#[derive(Debug)]
struct Share {
    left: Left,
    looked: Instant,
    used: Duration,
}

/// Nanoseconds of a processor; below zero after a long piece of work.
type Left = i128;

impl Share {
    fn new(now: Instant, used: Duration) -> Self {
        Self {
            left: earned(SAVED),
            looked: now,
            used,
        }
    }

    /// How long a start has to wait; `None` where it may go on.
    fn wait(&mut self, now: Instant, used: Duration) -> Option<Duration> {
        let since = now.saturating_duration_since(self.looked);
        let spent = used.saturating_sub(self.used);
        (self.looked, self.used) = (now, used);
        self.left = (self.left + earned(since)).min(earned(SAVED)) - nanos(spent);
        (is_on(Guard::StartPace) && self.left < 0).then(|| until_earned(-self.left))
    }
}

/// What comes in over that time.
fn earned(over: Duration) -> Left {
    nanos(over) * Left::from(MILLICORES) / 1_000
}

/// How long so much takes to come in; a millisecond at least, so that it is no crumb.
fn until_earned(left: Left) -> Duration {
    let wait = left * 1_000 / Left::from(MILLICORES.max(1));
    Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)).max(Duration::from_millis(1))
}

/// Bounded far below where sums of them overflow: 2^64 ns are 584 years.
fn nanos(duration: Duration) -> Left {
    Left::from(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    /// Starts VMs one after the other for ten seconds, each of which takes a millisecond of the
    /// thread, and says what the thread used.
    fn storm() -> Duration {
        let began = Instant::now();
        let mut share = Share::new(began, Duration::ZERO);
        let (mut now, mut used) = (began, Duration::ZERO);
        while now < began + 10 * SECOND {
            let wait = share.wait(now, used).unwrap_or_else(|| {
                used += MS;
                MS
            });
            now += wait;
        }
        used
    }

    #[test]
    fn c09_starts_as_fast_as_possible_leave_the_processor_to_guests() {
        let most = 10 * SECOND * u32::try_from(MILLICORES).unwrap() / 1_000;
        let used = storm();
        assert!(used <= most + MS * 100, "{used:?}");
        assert!(used + MS * 100 >= most, "{used:?}");
    }

    #[test]
    fn without_the_pace_they_take_all_of_it() {
        let used = switch_off(Guard::StartPace, storm);
        assert!(used > 9 * SECOND, "{used:?}");
    }

    #[test]
    fn starts_now_and_then_do_not_wait() {
        let began = Instant::now();
        let mut share = Share::new(began, Duration::ZERO);
        for start in 1..1_000 {
            assert_eq!(share.wait(began + start * MS * 10, start * MS), None);
        }
    }

    #[test]
    fn rest_is_not_saved_up_for_long() {
        let began = Instant::now();
        let mut share = Share::new(began, Duration::ZERO);
        assert_eq!(share.wait(began + 3_600 * SECOND, Duration::ZERO), None);
        let used = earned(SAVED) + 2_000_000;
        let used = Duration::from_nanos(used.try_into().unwrap());
        let wait = share.wait(began + 3_600 * SECOND, used).unwrap();
        assert_eq!(wait, until_earned(2_000_000));
        assert_eq!(share.wait(began + 3_600 * SECOND + wait, used), None);
    }
}
