//! Drives a guest's future poll by poll: measures each, holds it to its CPU quota, ends it
//! when its time is over, and catches panics of the host.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use agentvm_policy::EndReason;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::charge::YIELD_INTERVAL;
use crate::guards::{Guard, is_on};
use crate::handle::{Shared, Stop};
use crate::quota::Quota;
use crate::trap::Failure;

static HOST_PANICS: AtomicU64 = AtomicU64::new(0);

/// Panics in host code while it worked for a guest, since this process started. Anything
/// but 0 is a bug of ours.
pub fn host_panics_total() -> u64 {
    HOST_PANICS.load(Ordering::Relaxed)
}

/// How a metered guest came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ended or failed by itself.
    Returned(Result<(), Failure>),
    /// Its grace was over.
    Stopped(EndReason),
    /// Its wall-clock time was over.
    TimedOut,
    /// The host panicked.
    Panicked,
}

/// A guest under its quota, its timeout and its handle's control.
pub(crate) struct Metered<F> {
    guest: Option<Pin<Box<F>>>,
    shared: Arc<Shared>,
    origin: Instant,
    quota: Quota,
    timeout: Option<Timer>,
    stop: Option<Timer>,
    /// Runs while the guest waits for its quota to fill.
    pause: Option<Timer>,
}

type Timer = Pin<Box<Sleep>>;

impl<F> Metered<F>
where
    F: Future<Output = Result<(), Failure>>,
{
    /// Starts the clocks now; the guest itself starts with the first poll.
    pub(crate) fn new(guest: F, shared: Arc<Shared>, timeout: Option<Duration>) -> Self {
        let origin = Instant::now();
        let deadline = timeout.and_then(|timeout| origin.checked_add(timeout));
        let millicores = shared.cpu_millicores.load(Ordering::Relaxed);
        Self {
            guest: Some(Box::pin(guest)),
            shared,
            origin,
            quota: Quota::new(millicores, 0),
            timeout: deadline.map(timer),
            stop: None,
            pause: None,
        }
    }

    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Ready where the guest must end now, whatever it does.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let stop = {
            let mut control = self.shared.control();
            control.watch(cx.waker());
            control.stop
        };
        if let Some(stop) = stop
            && self.poll_stop(stop, cx).is_ready()
        {
            return Poll::Ready(Outcome::Stopped(stop.reason));
        }
        match &mut self.timeout {
            Some(timeout) => timeout.as_mut().poll(cx).map(|()| Outcome::TimedOut),
            None => Poll::Pending,
        }
    }

    fn poll_stop(&mut self, stop: Stop, cx: &mut Context<'_>) -> Poll<()> {
        if stop.at <= Instant::now() {
            return Poll::Ready(()); // a timer would round up to its next millisecond
        }
        let timer = self.stop.get_or_insert_with(|| timer(stop.at));
        if timer.deadline() != stop.at {
            timer.as_mut().reset(stop.at);
        }
        timer.as_mut().poll(cx)
    }

    /// Pending while the guest has to wait for its quota.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now_ns = self.elapsed_ns();
        self.quota
            .set_millicores(self.shared.cpu_millicores.load(Ordering::Relaxed), now_ns);
        let Some(pause) = &mut self.pause else {
            return Poll::Ready(());
        };
        if let Some(wait) = self.quota.wait(now_ns) {
            pause.as_mut().reset(Instant::now() + wait);
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.shared.account.end_pause();
        self.pause = None;
        Poll::Ready(())
    }

    fn poll_guest(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let Some(guest) = &mut self.guest else {
            return Poll::Ready(Outcome::Panicked);
        };
        match catch_unwind(AssertUnwindSafe(|| guest.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => Poll::Ready(Outcome::Returned(result)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => {
                HOST_PANICS.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(Outcome::Panicked)
            }
        }
    }

    /// Polls the guest, books the time it took, and pauses it where its quota is used up.
    fn poll_measured(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let before = thread_cpu();
        let outcome = self.poll_guest(cx);
        let used = thread_cpu().saturating_sub(before);
        let shared = Arc::clone(&self.shared);
        shared.account.add_cpu(used);
        if outcome.is_pending() && !shared.account.is_in_host_call() {
            shared.account.add_fuel(YIELD_INTERVAL);
        }
        let now_ns = self.elapsed_ns();
        if let Some(wait) = self.quota.spend(used, now_ns)
            && outcome.is_pending()
            && is_on(Guard::CpuQuota)
        {
            let mut pause = timer(Instant::now() + wait);
            if pause.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
            shared.account.begin_pause();
            self.pause = Some(pause);
        }
        outcome
    }

    /// Frees the guest, its memory first of all, and books the time that takes.
    fn free(&mut self) {
        let before = thread_cpu();
        let guest = self.guest.take();
        if catch_unwind(AssertUnwindSafe(|| drop(guest))).is_err() {
            HOST_PANICS.fetch_add(1, Ordering::Relaxed);
        }
        self.shared
            .account
            .add_cpu(thread_cpu().saturating_sub(before));
        self.shared.account.free_memory();
        self.shared.account.end_pause();
        self.shared.started.open();
    }
}

impl<F> Future for Metered<F>
where
    F: Future<Output = Result<(), Failure>>,
{
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let this = &mut *self;
        let mut outcome = this.poll_end(cx);
        if outcome.is_pending() && this.poll_pause(cx).is_ready() {
            outcome = this.poll_measured(cx);
        }
        if outcome.is_ready() {
            this.free();
        }
        outcome
    }
}

impl<F> Drop for Metered<F> {
    fn drop(&mut self) {
        self.guest = None;
        self.shared.account.free_memory();
        self.shared.started.open();
    }
}

fn timer(at: Instant) -> Timer {
    Box::pin(sleep_until(at))
}

/// The processor time of this thread, which no other VM's work is part of.
fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos)
}
