//! The tasks of a scheduler, those that are ready among them, and the threads that wait for one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::order::Order;
use super::task::{Boxed, Task};

/// Shared by the scheduler, its threads and every task.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    panics: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    order: Order<Arc<Task>>,
    /// Every task that has not ended, by its number.
    tasks: BTreeMap<u64, Arc<Task>>,
    started: u64,
    /// Threads that wait.
    idle: usize,
    stopped: bool,
}

impl Queue {
    /// A new task, ready at once. Dropped where the scheduler is.
    pub(super) fn add(this: &Arc<Self>, future: Boxed) {
        let mut state = this.lock();
        if state.stopped {
            drop(state);
            return;
        }
        let number = state.started;
        state.started += 1;
        let task = Task::new(number, future, this.clone());
        state.tasks.insert(number, task.clone());
        this.push(state, task);
    }

    /// `task` is ready.
    pub(super) fn ready(&self, task: Arc<Task>) {
        let state = self.lock();
        self.push(state, task);
    }

    fn push(&self, mut state: MutexGuard<'_, State>, task: Arc<Task>) {
        let wanted = !state.stopped && state.idle > 0;
        if !state.stopped {
            state.put(task);
        }
        drop(state);
        if wanted {
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
            if let Some(task) = state.order.pop() {
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
