//! Drives a guest's future poll by poll: measures each, holds it to its CPU quota, ends it
//! when its time is over, and catches panics of the host.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use agentvm_policy::EndReason;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::guards::{Guard, is_on};
use crate::handle::{Shared, Stop};
use crate::recall::Recall;
use crate::trap::Failure;
use crate::turn::Turn;

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
    recall: Arc<Recall>,
    /// Wakes `recall`.
    waker: Waker,
    timeout: Option<Timer>,
    stop: Option<Timer>,
    /// Runs while the guest could go on and waits for its quota.
    pause: Option<Timer>,
}

type Timer = Pin<Box<Sleep>>;

impl<F> Metered<F>
where
    F: Future<Output = Result<(), Failure>>,
{
    /// Starts the clocks now; the guest itself starts with the first poll.
    pub(crate) fn new(guest: F, shared: Arc<Shared>, timeout: Option<Duration>) -> Self {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let recall = Arc::<Recall>::default();
        Self {
            guest: Some(Box::pin(guest)),
            shared,
            waker: Waker::from(Arc::clone(&recall)),
            recall,
            timeout: deadline.map(timer),
            stop: None,
            pause: None,
        }
    }

    /// Ready where the guest must end now, whatever it does.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let stop = {
            let mut control = self.shared.control();
            control.watch(cx.waker());
            control.stop
        };
        if let Some(stop) = stop
            && is_on(Guard::StopEnds)
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

    /// Pending while the guest could go on and has to wait for its quota.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let cpu = &self.shared.budget.cpu;
        if let Some(wait) = cpu.wait() {
            let until = Instant::now() + wait;
            let pause = self.pause.get_or_insert_with(|| {
                cpu.begin_pause();
                timer(until)
            });
            pause.as_mut().reset(until);
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        if self.pause.take().is_some() {
            cpu.end_pause();
        }
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

    /// Polls the guest for a turn and books the time it took.
    ///
    /// A guest that computes gives way after each interval of fuel, which is much sooner than a
    /// turn is over. It goes on at once then: the way through whoever polls it costs several
    /// microseconds each time.
    fn poll_measured(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let turn = Turn::begin();
        self.recall.begin(cx.waker());
        let waker = self.waker.clone();
        let mut inner = Context::from_waker(&waker);
        let outcome = loop {
            let outcome = self.poll_guest(&mut inner);
            if outcome.is_ready() || Turn::is_over() || !self.recall.take() {
                break outcome;
            }
        };
        self.recall.end();
        if outcome.is_ready() {
            self.drop_guest(); // in this turn: reading the clock costs as much as a small guest
        }
        self.shared.budget.charge_cpu(turn.end());
        outcome
    }
}

impl<F> Metered<F> {
    /// Frees the guest, if that has not been done, and books the time that takes.
    fn free(&mut self) {
        if self.guest.is_some() {
            let turn = Turn::begin();
            self.drop_guest();
            self.shared.budget.charge_cpu(turn.end());
        }
        let budget = &self.shared.budget;
        budget.cpu.end_pause();
        budget.memory.free();
        let waker = self.shared.control().forget_waker();
        drop(waker);
        self.shared.started.open();
    }

    fn drop_guest(&mut self) {
        let guest = self.guest.take();
        if catch_unwind(AssertUnwindSafe(|| drop(guest))).is_err() {
            HOST_PANICS.fetch_add(1, Ordering::Relaxed);
        }
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
        self.free();
    }
}

fn timer(at: Instant) -> Timer {
    Box::pin(sleep_until(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::handle::VmHandle;
    use crate::turn::thread_cpu;

    /// Uses `cpu` of this thread without letting go of it.
    fn burn(cpu: Duration) {
        let end = thread_cpu() + cpu;
        while thread_cpu() < end {}
    }

    #[tokio::test]
    async fn a_guest_that_sleeps_after_its_quota_is_used_up_is_not_delayed() {
        let shared = Arc::new(Shared::new(Budget::new(100, 0, 0)));
        let guest = async {
            burn(Duration::from_millis(105)); // 5 ms more than its burst
            tokio::time::sleep(Duration::from_millis(400)).await; // earns 40 ms
            burn(Duration::from_millis(1));
            Ok(())
        };
        let outcome = Metered::new(guest, Arc::clone(&shared), None).await;
        assert_eq!(outcome, Outcome::Returned(Ok(())));
        let usage = shared.budget.usage();
        assert_eq!(usage.throttled, Duration::ZERO);
        assert!(usage.cpu >= Duration::from_millis(106), "{:?}", usage.cpu);
    }

    #[tokio::test]
    async fn d09_a_vm_that_has_ended_holds_the_task_no_more_that_ran_it() {
        let shared = Arc::new(Shared::new(Budget::new(100, 0, 0)));
        let task = Arc::new(Recall::default()); // a waker as good as any other
        let waker = Waker::from(Arc::clone(&task));
        let guest = std::future::pending();
        let mut metered = Box::pin(Metered::new(guest, Arc::clone(&shared), None));
        let mut poll = || metered.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        assert!(Arc::strong_count(&task) > 2);
        let handle = VmHandle {
            shared: Arc::clone(&shared),
        };
        handle.stop(EndReason::Stopped, Duration::ZERO);
        assert!(poll().is_ready());
        drop(metered);
        assert_eq!(Arc::strong_count(&task), 2);
    }

    #[tokio::test]
    async fn work_that_is_charged_while_a_guest_sleeps_delays_it() {
        let shared = Arc::new(Shared::new(Budget::new(100, 0, 0)));
        let handle = VmHandle {
            shared: Arc::clone(&shared),
        };
        let guest = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            Ok(())
        };
        let metered = Metered::new(guest, Arc::clone(&shared), None);
        // All of its burst, and 10 ms more.
        handle.charge_cpu(Duration::from_millis(110));
        let outcome = metered.await;
        assert_eq!(outcome, Outcome::Returned(Ok(())));
        let usage = handle.usage();
        // 10 ms short and 10 ms for a period, at a tenth of the time.
        assert!(usage.throttled > Duration::from_millis(150), "{usage:?}");
        assert!(usage.cpu >= Duration::from_millis(110), "{usage:?}");
    }
}
