//! A guest's turn on a thread, and the CPU time of the thread that is its.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::guards::{Guard, is_on};

/// The most that counts as a turn's of what the thread did before it.
const MOST_BEFORE: Duration = Duration::from_nanos(agentvm_policy::budget::POLL_COST_MOST.value);

/// How long a turn lasts.
const LENGTH: Duration = agentvm_policy::budget::TURN.duration();

thread_local! {
    /// When the last turn on this thread has begun.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The CPU time of this thread up to the end of the last turn.
    static COUNTED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A turn that has begun.
///
/// It begins where the last one on this thread has ended: what lies in between is the work of
/// waking a guest, queueing it and finding it again, without which a guest that does nothing but
/// yield would use several times what it pays for.
#[derive(Debug)]
pub(crate) struct Turn {
    from: Duration,
}

impl Turn {
    pub(crate) fn begin() -> Self {
        let now = thread_cpu();
        let counted = COUNTED.get();
        let most = if is_on(Guard::TurnCharge) {
            MOST_BEFORE
        } else {
            Duration::ZERO
        };
        BEGAN.set(Some(Instant::now()));
        Self {
            from: counted.max(now.saturating_sub(most)),
        }
    }

    /// Whether the present turn on this thread is over: then others run as soon as it can be
    /// interrupted.
    pub(crate) fn is_over() -> bool {
        BEGAN.get().is_none_or(|began| began.elapsed() >= LENGTH)
    }

    /// Ends it, and says what it took.
    pub(crate) fn end(self) -> Duration {
        let now = thread_cpu();
        COUNTED.set(now);
        now.saturating_sub(self.from)
    }
}

/// The processor time of this thread: nobody else's work is part of it.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
