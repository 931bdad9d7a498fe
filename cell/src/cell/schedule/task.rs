//! One task: its future, where that is, and what it has used.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use agentvm_policy::budget;
use agentvm_runtime::thread_cpu;

use super::queue::Queue;
use crate::guards::{Guard, is_on};

/// A poll that takes this much CPU time is a long one: guests let others run several times in it,
/// unless they are in a call that can't be interrupted.
const LONG: Duration = Duration::from_millis(3);

thread_local! {
    /// On the thread of the timers, its CPU time up to the last timer that fired.
    static FIRED: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// The most that counts of what went by before a timer fired.
const WAKE_COST_MOST: Duration = Duration::from_nanos(budget::POLL_COST_MOST.value);

/// What this thread does between two wakes is the second one's from now on.
pub(super) fn charge_wakes() {
    FIRED.set(Some(thread_cpu()));
}

/// A task's future; it takes its output elsewhere.
pub(super) type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is known of a task outside of the scheduler.
#[derive(Clone, Copy, Debug)]
pub(in crate::cell) struct Account {
    /// The part of a core that it is promised, in thousandths.
    pub(in crate::cell) millicores: u64,
    /// The CPU time that it was charged so far: that of its polls, and of work done for it
    /// elsewhere.
    pub(in crate::cell) charged: Duration,
}

/// Who pays for a task; asked after each poll.
pub(in crate::cell) trait Payer: Send + Sync {
    /// What is known of it now.
    fn account(&self) -> Account;

    /// Charges it for CPU time that no other has charged it for: finding it and waking its thread.
    fn charge(&self, used: Duration);
}

/// A whole core.
const CORE: u64 = 1_000;

/// One task; also its waker.
pub(super) struct Task {
    number: u64,
    payer: Box<dyn Payer>,
    stage: Mutex<Stage>,
    /// CPU time that it counts as having used, in nanoseconds, as if it were promised a whole core.
    /// Written by who holds the task: the queue or the thread that polls it.
    used_ns: AtomicU64,
    /// What it had been charged after its last poll, in nanoseconds.
    charged_ns: AtomicU64,
    /// What its timers took since its last poll, in nanoseconds.
    fired_ns: AtomicU64,
    /// Whether its last poll took long.
    is_long: AtomicBool,
    queue: Arc<Queue>,
}

/// Where a task is.
enum Stage {
    /// It waits to be woken.
    Parked(Boxed),
    /// It stands in the queue.
    Queued(Boxed),
    /// A thread polls it.
    Polling,
    /// A thread polls it, and it was woken meanwhile.
    Woken,
    /// It is over.
    Ended,
}

/// What came of a poll.
pub(super) enum Polled {
    /// It goes on when it is woken.
    Pending(Boxed),
    /// It is over.
    Ended,
}

impl Task {
    /// A task that stands in the queue.
    pub(super) fn new(
        number: u64,
        payer: Box<dyn Payer>,
        future: Boxed,
        queue: Arc<Queue>,
    ) -> Arc<Self> {
        Arc::new(Self {
            number,
            payer,
            stage: Mutex::new(Stage::Queued(future)),
            used_ns: AtomicU64::new(0),
            charged_ns: AtomicU64::new(0),
            fired_ns: AtomicU64::new(0),
            is_long: AtomicBool::new(false),
            queue,
        })
    }

    /// Polls it. A panic ends it, and nothing else.
    pub(super) fn poll(self: &Arc<Self>, queue: &Queue) -> Polled {
        let Some(mut future) = self.stage().take_to_poll() else {
            return Polled::Ended;
        };
        let waker = Waker::from(self.clone());
        let mut context = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => return Polled::Pending(future),
            Ok(Poll::Ready(())) => {}
            Err(_panic) => queue.count_panic(),
        }
        free(future, queue);
        Polled::Ended
    }

    /// Puts it back after a poll; true where it is ready again.
    pub(super) fn settle(&self, polled: Polled, queue: &Queue) -> bool {
        let rest = match polled {
            Polled::Pending(future) => match self.stage().put_back(future) {
                PutBack::Parked => return false,
                PutBack::Queued => return true,
                PutBack::Ended(future) => Some(future),
            },
            Polled::Ended => self.stage().end(),
        };
        if let Some(future) = rest {
            free(future, queue);
        }
        queue.remove(self.number);
        false
    }

    /// Ends it now, or after the poll that it is in.
    pub(super) fn end(&self, queue: &Queue) {
        let future = self.stage().end();
        if let Some(future) = future {
            free(future, queue);
        }
    }

    /// Adds the CPU time of a poll, and of what was done for the task elsewhere since the last one:
    /// threads that write what it says take the same processors. The less a task is promised, the
    /// more it counts.
    ///
    /// Its payer has been charged for the guest's own part of the poll; the rest is added there.
    pub(super) fn charge(&self, used: Duration) {
        let Account {
            millicores,
            charged,
        } = self.payer.account();
        let before = self.charged_ns.load(Ordering::Relaxed);
        let since = nanos(charged).saturating_sub(before);
        let mut fired = self.fired_ns.swap(0, Ordering::Relaxed);
        if !is_on(Guard::TimerCharge) {
            fired = 0;
        }
        let mut nanos = nanos(used);
        let rest = if is_on(Guard::QueueCharge) {
            nanos.saturating_sub(since)
        } else {
            0
        };
        let rest = rest.saturating_add(fired);
        self.payer.charge(Duration::from_nanos(rest));
        let charged = before.saturating_add(since).saturating_add(rest);
        self.charged_ns.store(charged, Ordering::Relaxed);
        if is_on(Guard::WorkElsewhereCounts) {
            nanos = nanos.max(since);
        }
        nanos = nanos.saturating_add(fired);
        let share = if is_on(Guard::ShareByQuota) {
            millicores.max(1)
        } else {
            CORE
        };
        let counted = nanos.saturating_mul(CORE) / share;
        self.used_ns.fetch_add(counted, Ordering::Relaxed);
        self.is_long.store(used >= LONG, Ordering::Relaxed);
    }

    /// Keeps what the thread of the timers took for this wake until the next poll.
    fn note_wake(&self) {
        if let Some(before) = FIRED.get() {
            let now = thread_cpu();
            FIRED.set(Some(now));
            let took = now.saturating_sub(before).min(WAKE_COST_MOST);
            self.fired_ns.fetch_add(nanos(took), Ordering::Relaxed);
        }
    }

    /// Whether its last poll took much longer than polls should.
    pub(super) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// CPU time that it counts as having used.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used_ns.load(Ordering::Relaxed))
    }

    pub(super) fn set_used(&self, used: Duration) {
        self.used_ns.store(nanos(used), Ordering::Relaxed);
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.note_wake();
        let is_ready = self.stage().wake();
        if is_ready {
            self.queue.ready(self.clone());
        }
    }
}

/// Where a future went after its poll.
enum PutBack {
    Parked,
    Queued,
    Ended(Boxed),
}

impl Stage {
    /// True where it is to be put into the queue.
    fn wake(&mut self) -> bool {
        match std::mem::replace(self, Self::Ended) {
            Self::Parked(future) => {
                *self = Self::Queued(future);
                return true;
            }
            Self::Polling => *self = Self::Woken,
            as_before @ (Self::Queued(_) | Self::Woken | Self::Ended) => *self = as_before,
        }
        false
    }

    fn take_to_poll(&mut self) -> Option<Boxed> {
        match std::mem::replace(self, Self::Polling) {
            Self::Queued(future) | Self::Parked(future) => Some(future),
            as_before @ (Self::Polling | Self::Woken | Self::Ended) => {
                *self = as_before;
                None
            }
        }
    }

    fn put_back(&mut self, future: Boxed) -> PutBack {
        let (stage, went) = match self {
            Self::Polling => (Self::Parked(future), PutBack::Parked),
            Self::Woken => (Self::Queued(future), PutBack::Queued),
            Self::Parked(_) | Self::Queued(_) | Self::Ended => {
                return PutBack::Ended(future);
            }
        };
        *self = stage;
        went
    }

    /// Ends it; the future is the caller's to free, outside the lock: it may wake others.
    fn end(&mut self) -> Option<Boxed> {
        match std::mem::replace(self, Self::Ended) {
            Self::Parked(future) | Self::Queued(future) => Some(future),
            Self::Polling | Self::Woken | Self::Ended => None,
        }
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parked(_) => "Parked",
            Self::Queued(_) => "Queued",
            Self::Polling => "Polling",
            Self::Woken => "Woken",
            Self::Ended => "Ended",
        })
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn free(future: Boxed, queue: &Queue) {
    if catch_unwind(AssertUnwindSafe(|| drop(future))).is_err() {
        queue.count_panic();
    }
}
