//! The executor of guests: fair by the CPU time that each has used of what it is promised.
//!
//! A tokio runtime polls whoever was woken first: a guest with polls of 100 ms gets ten times the
//! CPU of one with polls of 10 ms. Here the one that has used the least is polled next, and a guest
//! that wakes from sleep goes before those that have been busy: it waits for the polls that are
//! running, and no longer.
//!
//! | thread | input | output |
//! | --- | --- | --- |
//! | `guest`: one for each core | the task that has used the least | its next poll |
//! | `guest-first` | a task that is behind all that are busy, or one that waits while each of those is in a long poll | its next poll |
//! | `guest-timers` | tokio's timers of the guests | wakers, and what it took for each |
//!
//! Between the cells of a node, which have as many threads each, the kernel shares. It prefers their
//! first threads: who computes now and then goes before those that compute all the time.

mod order;
mod queue;
mod task;

use std::any::Any;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agentvm_runtime::thread_cpu;
use futures::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use queue::Queue;
use task::Task;
pub(super) use task::{Account, Payer};

/// How much less of the CPU guests get than the tasks that control them.
pub(in crate::cell) const GUEST_NICENESS: i32 = 10;

/// The same for those of them that are behind: three times as much as the others get.
const FIRST_NICENESS: i32 = 5;

/// Owns the threads: when it is dropped, the tasks go at once, and each thread with the poll that
/// it is in.
#[derive(Debug)]
pub(super) struct Scheduler {
    queue: Arc<Queue>,
}

impl Scheduler {
    /// Starts `workers` threads, and the one of the timers.
    pub(super) fn start(workers: usize) -> io::Result<Self> {
        let timers = Arc::new(Timers::start()?);
        // Made first, so that threads end where a later one can't be started.
        let scheduler = Self {
            queue: Arc::new(Queue::new(workers)),
        };
        for _ in 0..workers {
            scheduler.thread("guest", GUEST_NICENESS, &timers, Queue::next)?;
        }
        scheduler.thread("guest-first", FIRST_NICENESS, &timers, Queue::next_first)?;
        Ok(scheduler)
    }

    fn thread(
        &self,
        name: &str,
        niceness: i32,
        timers: &Arc<Timers>,
        next: Next,
    ) -> io::Result<()> {
        let (queue, timers) = (self.queue.clone(), timers.clone());
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || {
            // Niceness is a thread's own on Linux. Without it guests are only less polite.
            let _nice = rustix::process::setpriority_process(None, niceness);
            work(&queue, &timers, next);
        })?;
        Ok(())
    }

    /// Where to start tasks.
    pub(super) fn spawner(&self) -> Spawner {
        Spawner {
            queue: self.queue.clone(),
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.queue.stop();
    }
}

/// Starts tasks. Cloning it is cheap; it keeps no thread alive.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    queue: Arc<Queue>,
}

impl Spawner {
    /// Runs `future` to its end, whether or not somebody waits for that.
    ///
    /// `payer` tells what it is promised of a core now: where there is not enough for all, each
    /// gets as much of that as the others do.
    pub(super) fn spawn<F>(&self, payer: impl Payer + 'static, future: F) -> Running<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (ended_tx, ended_rx) = oneshot::channel();
        let queue = self.queue.clone();
        let future = AssertUnwindSafe(future).catch_unwind().map(move |ended| {
            if ended.is_err() {
                queue.count_panic();
            }
            // Whoever started it may not care.
            let _unheard = ended_tx.send(ended.map_err(|panic| message(&*panic)));
        });
        Queue::add(&self.queue, Box::new(payer), Box::pin(future));
        Running(ended_rx)
    }

    /// Tasks that ended with a panic.
    pub(super) fn panics_total(&self) -> u64 {
        self.queue.panics_total()
    }
}

/// A task that was started; yields what came of it. Dropping it stops nothing.
#[derive(Debug)]
pub(super) struct Running<T>(oneshot::Receiver<Result<T, String>>);

impl<T> Future for Running<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended| match ended {
            Ok(ended) => ended.map_err(Lost::Panicked),
            Err(_dropped) => Err(Lost::Stopped),
        })
    }
}

/// Why a task has no output.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Lost {
    /// A bug of ours.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// The scheduler was dropped before its end.
    #[error("the cell ends")]
    Stopped,
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it does not say why")
        .to_owned()
}

/// The runtime whose timers guests use, and nothing else of it.
#[derive(Debug)]
struct Timers(Option<Runtime>);

impl Timers {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_time()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("guest-timers")
            .on_thread_start(task::charge_wakes)
            .build()?;
        Ok(Self(Some(runtime)))
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How a thread comes by the next task; it says whether the last one is ready again.
type Next = fn(&Queue, Option<Arc<Task>>) -> Option<Arc<Task>>;

/// What each thread of the guests does until the scheduler is dropped.
fn work(queue: &Queue, timers: &Timers, next: Next) {
    let _timers = timers.0.as_ref().map(Runtime::enter);
    let mut task = next(queue, None);
    let mut before = thread_cpu();
    while let Some(polling) = task {
        let polled = polling.poll(queue);
        // Once for each poll: what the queue takes is shared by those that use it.
        let after = thread_cpu();
        polling.charge(after.saturating_sub(before));
        before = after;
        let again = polling.settle(polled, queue);
        task = next(queue, again.then_some(polling));
    }
}

#[cfg(test)]
mod tests;
