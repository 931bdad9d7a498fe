//! The tasks of a scheduler, those that are ready among them, and the threads that wait for one.
//!
//! A task that is behind, since it slept, goes to a thread of its own, which the kernel prefers to
//! the workers of every cell: what it does it has done before those that compute all the time get
//! on. Once it has caught up with them it is one of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::order::Order;
use super::task::{Boxed, Payer, Task};
use crate::guards::{Guard, is_on};

/// How long the workers may keep a ready task waiting, all of them in one poll each, before the
/// first thread stands in for them.
const LATE: Duration = Duration::from_millis(2);

/// Shared by the scheduler, its threads and every task.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    /// Wakes the first thread.
    first: Condvar,
    panics: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    order: Order<Arc<Task>>,
    /// Those that are behind all of them.
    behind: Order<Arc<Task>>,
    /// Every task that has not ended, by its number.
    tasks: BTreeMap<u64, Arc<Task>>,
    started: u64,
    workers: usize,
    /// Those of them that wait.
    idle: usize,
    /// Since when every thread waits.
    rests: Option<Instant>,
    /// Tasks that workers have taken.
    taken: u64,
    /// What that was when the first thread found all of them stuck.
    stuck_at: Option<u64>,
    /// What the first thread does.
    first: First,
    stopped: bool,
}

/// What the first thread does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum First {
    /// It polls a task, or looks for one.
    #[default]
    Busy,
    /// It waits for a task that is behind, or that no worker waits for.
    Waits,
    /// It was woken for a task that is behind, and has not come yet: one is left for it.
    Called,
}

impl Queue {
    /// A queue for so many workers and the first thread.
    pub(super) fn new(workers: usize) -> Self {
        let state = State {
            workers,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            ..Self::default()
        }
    }

    /// A new task, ready at once. Dropped where the scheduler is.
    pub(super) fn add(this: &Arc<Self>, payer: Box<dyn Payer>, future: Boxed) {
        let mut state = this.lock();
        if state.stopped {
            drop(state);
            return;
        }
        let number = state.started;
        state.started += 1;
        let task = Task::new(number, payer, future, this.clone());
        state.tasks.insert(number, task.clone());
        this.push(state, task);
    }

    /// `task` is ready.
    pub(super) fn ready(&self, task: Arc<Task>) {
        let state = self.lock();
        self.push(state, task);
    }

    fn push(&self, mut state: MutexGuard<'_, State>, task: Arc<Task>) {
        let worker = state.idle > 0;
        let mut first = state.first == First::Waits;
        if !state.stopped && state.put(task) && first {
            state.first = First::Called;
        } else {
            first &= !worker;
        }
        drop(state);
        if first {
            self.first.notify_one();
        } else if worker {
            self.ready.notify_one();
        }
    }

    /// Waits for the next task, and for no longer than the scheduler is there. `again` is the one
    /// that the caller polled last, where it is ready again.
    pub(super) fn next(&self, again: Option<Arc<Task>>) -> Option<Arc<Task>> {
        let mut state = self.lock();
        // Nobody else is needed for it: one comes, one goes.
        if let Some(again) = again {
            state.put(again);
        }
        loop {
            if state.stopped {
                return None;
            }
            if let Some(task) = state.take() {
                state.taken += 1;
                return Some(task);
            }
            state.idle += 1;
            state.waits();
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Waits for the next task that the first thread polls: one that is behind; or one that is ready
    /// while every worker is stuck. Neither is known to take long itself. `again` as for
    /// [`Self::next`].
    pub(super) fn next_first(&self, again: Option<Arc<Task>>) -> Option<Arc<Task>> {
        let mut state = self.lock();
        if let Some(again) = again
            && !state.put(again)
            && state.idle > 0
        {
            self.ready.notify_one();
        }
        loop {
            if state.stopped {
                return None;
            }
            state.first = First::Busy;
            if let Some(task) = state.behind.pop() {
                return Some(task);
            }
            if state.stuck_at == Some(state.taken)
                && let Some(task) = state.order.pop_where(|task| !task.is_long())
            {
                return Some(task);
            }
            state = self.wait_until_stuck(state);
        }
    }

    /// Waits for [`LATE`], and before it until something is ready. Ends where a task is behind.
    fn wait_until_stuck<'queue>(
        &self,
        mut state: MutexGuard<'queue, State>,
    ) -> MutexGuard<'queue, State> {
        state.stuck_at = None;
        state.first = First::Waits;
        state.waits();
        if state.order.len() == 0 {
            state = self
                .first
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let taken = state.taken;
        let goes_on = |state: &mut State| !state.stopped && state.behind.len() == 0;
        let (mut state, _timed_out) = self
            .first
            .wait_timeout_while(state, LATE, goes_on)
            .unwrap_or_else(PoisonError::into_inner);
        state.stuck_at = (state.taken == taken).then_some(taken);
        state
    }

    /// Task `number` has ended.
    pub(super) fn remove(&self, number: u64) {
        let ended = self.lock().tasks.remove(&number);
        drop(ended);
    }

    /// Ends the threads, and every task that is not being polled.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        let tasks = std::mem::take(&mut state.tasks);
        let ready = (
            std::mem::take(&mut state.order),
            std::mem::take(&mut state.behind),
        );
        drop(state);
        self.ready.notify_all();
        self.first.notify_all();
        drop(ready);
        for task in tasks.into_values() {
            task.end(self);
        }
    }

    /// Tasks that have not ended.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> usize {
        self.lock().tasks.len()
    }

    /// Those that are left for the first thread.
    #[cfg(test)]
    pub(super) fn behind(&self) -> usize {
        self.lock().behind.len()
    }

    pub(super) fn count_panic(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn panics_total(&self) -> u64 {
        self.panics.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A task is ready; true where that is one for the first thread.
    fn put(&mut self, task: Arc<Task>) -> bool {
        if let Some(since) = self.rests.take() {
            self.order.rest(since.elapsed());
        }
        let used = self.order.counted(task.used());
        task.set_used(used);
        let is_behind =
            is_on(Guard::SleepersFirst) && self.order.is_behind(used) && !task.is_long();
        if is_behind {
            self.behind.push(task, used);
        } else {
            self.order.push(task, used);
        }
        is_behind
    }

    /// A thread begins to wait.
    fn waits(&mut self) {
        if self.idle >= self.workers && self.first == First::Waits {
            self.rests.get_or_insert_with(Instant::now);
        }
    }

    /// The next task for a worker.
    fn take(&mut self) -> Option<Arc<Task>> {
        let left = usize::from(self.first == First::Called);
        if self.behind.len() > left {
            return self.behind.pop();
        }
        self.order.pop()
    }
}
