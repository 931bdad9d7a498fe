//! The tasks of a scheduler, those that are ready among them, and the threads that wait for one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::order::Order;
use super::task::{Boxed, Share, Task};

/// How long the workers may keep a ready task waiting, all of them in one poll each, before the
/// stand-in takes it.
const LATE: Duration = Duration::from_millis(2);

/// Shared by the scheduler, its threads and every task.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    /// Wakes the stand-in.
    late: Condvar,
    panics: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    order: Order<Arc<Task>>,
    /// Every task that has not ended, by its number.
    tasks: BTreeMap<u64, Arc<Task>>,
    started: u64,
    /// Workers that wait.
    idle: usize,
    /// Tasks that workers have taken.
    taken: u64,
    /// What that was when the stand-in found all of them stuck.
    stuck_at: Option<u64>,
    /// The stand-in waits for a task that no worker waits for.
    stand_in_waits: bool,
    stopped: bool,
}

impl Queue {
    /// A new task, ready at once. Dropped where the scheduler is.
    pub(super) fn add(this: &Arc<Self>, share: Share, future: Boxed) {
        let mut state = this.lock();
        if state.stopped {
            drop(state);
            return;
        }
        let number = state.started;
        state.started += 1;
        let task = Task::new(number, share, future, this.clone());
        state.tasks.insert(number, task.clone());
        this.push(state, task);
    }

    /// `task` is ready.
    pub(super) fn ready(&self, task: Arc<Task>) {
        let state = self.lock();
        self.push(state, task);
    }

    fn push(&self, mut state: MutexGuard<'_, State>, task: Arc<Task>) {
        let (worker, stand_in) = (state.idle > 0, state.stand_in_waits);
        if !state.stopped {
            state.put(task);
        }
        drop(state);
        if worker {
            self.ready.notify_one();
        } else if stand_in {
            self.late.notify_one();
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
            if let Some(task) = state.order.pop() {
                state.taken += 1;
                return Some(task);
            }
            state.idle += 1;
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    /// Waits for the next task that the stand-in polls: one that is ready while every worker is
    /// stuck, and that is not known to take long itself. `again` as for [`Self::next`].
    pub(super) fn next_late(&self, again: Option<Arc<Task>>) -> Option<Arc<Task>> {
        if let Some(again) = again {
            self.ready(again);
        }
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            if state.stuck_at == Some(state.taken)
                && let Some(task) = state.order.pop_where(|task| !task.is_long())
            {
                return Some(task);
            }
            state = self.wait_until_stuck(state);
        }
    }

    /// Waits for [`LATE`], and before it until something is ready.
    fn wait_until_stuck<'queue>(
        &self,
        mut state: MutexGuard<'queue, State>,
    ) -> MutexGuard<'queue, State> {
        state.stuck_at = None;
        if state.order.is_empty() {
            state.stand_in_waits = true;
            state = self
                .late
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.stand_in_waits = false;
        }
        let taken = state.taken;
        let is_over = |state: &mut State| !state.stopped;
        let (mut state, _timed_out) = self
            .late
            .wait_timeout_while(state, LATE, is_over)
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
        let order = std::mem::take(&mut state.order);
        drop(state);
        self.ready.notify_all();
        self.late.notify_all();
        drop(order);
        for task in tasks.into_values() {
            task.end(self);
        }
    }

    /// Tasks that have not ended.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> usize {
        self.lock().tasks.len()
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
    fn put(&mut self, task: Arc<Task>) {
        let used = self.order.counted(task.used());
        task.set_used(used);
        self.order.push(task, used);
    }
}
