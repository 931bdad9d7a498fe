//! The way to one of the threads that write lines: bounded in bytes, and shared so that floods leave
//! room and wait for nobody's turn but their own.
//!
//! **Room**: a VM may have no more in it than there is room left. Ten VMs that flood it fill ten
//! elevenths of it, a hundred leave a hundredth: whoever writes a few lines now and then finds room
//! for them, however many others write all they can.
//!
//! **Turns**: the thread takes a batch of one VM's lines, then of the next one's. A line waits for a
//! batch of each other VM, and for no backlog but its own VM's.

mod turns;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::guards::{Guard, is_on};
pub(super) use turns::Place;
use turns::{Next, Turns};

/// Bytes of lines that may wait in it.
const MAX_QUEUED_BYTES: usize = agentvm_policy::budget::QUEUED_LOG_BYTES.usize();

/// Those of one VM among them.
const MAX_WAITING_BYTES: usize = agentvm_policy::budget::WAITING_LOG_BYTES.usize();

/// The near end.
#[derive(Debug)]
pub(super) struct Lane<T> {
    way: Arc<Way<T>>,
}

/// The far end, for the thread.
#[derive(Debug)]
pub(super) struct End<T> {
    way: Arc<Way<T>>,
}

/// What both ends share.
#[derive(Debug)]
struct Way<T> {
    state: Mutex<State<T>>,
    /// Wakes the thread.
    filled: Condvar,
    /// Bytes of lines of all VMs that wait.
    bytes: AtomicUsize,
    /// Where the lines of all wait if they take no turns.
    common: Arc<Place<T>>,
}

#[derive(Debug)]
struct State<T> {
    turns: Turns<T>,
    near_ends: usize,
    thread_waits: bool,
    thread_is_gone: bool,
}

/// What came of waiting for something to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The batch has something.
    Batch,
    /// The time is over.
    Nothing,
    /// Nothing will ever come.
    Closed,
}

/// A new one, with both ends.
pub(super) fn lane<T>() -> (Lane<T>, End<T>) {
    let way = Arc::new(Way {
        state: Mutex::new(State {
            turns: Turns::default(),
            near_ends: 1,
            thread_waits: false,
            thread_is_gone: false,
        }),
        filled: Condvar::new(),
        bytes: AtomicUsize::new(0),
        common: Arc::default(),
    });
    (Lane { way: way.clone() }, End { way })
}

impl<T> Lane<T> {
    /// Whether the VM of that place may put another line.
    pub(super) fn has_room(&self, place: &Place<T>) -> bool {
        fits(place.bytes(), self.waiting())
    }

    /// Bytes of all VMs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.way.bytes.load(Ordering::Acquire)
    }

    /// Puts a line of `bytes` in, where there is room.
    pub(super) fn line(&self, place: &Arc<Place<T>>, bytes: usize, line: T) -> bool {
        if !self.has_room(place) {
            return false;
        }
        // Counted before it is there: the thread may have written it before this goes on.
        place.count(bytes);
        self.way.bytes.fetch_add(bytes, Ordering::AcqRel);
        let from = if is_on(Guard::LogTurns) {
            place
        } else {
            &self.way.common
        };
        !from.push(bytes, line) || self.put(|turns| turns.wants(from.clone()))
    }

    /// Puts something in that is no line and goes first; false where nobody takes it any more.
    pub(super) fn note(&self, what: T) -> bool {
        self.put(|turns| turns.note(what))
    }

    fn put(&self, put: impl FnOnce(&mut Turns<T>)) -> bool {
        let mut state = self.way.lock();
        if state.thread_is_gone {
            return false;
        }
        put(&mut state.turns);
        let wakes = state.thread_waits;
        drop(state);
        if wakes {
            self.way.filled.notify_one();
        }
        true
    }
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        self.way.lock().near_ends += 1;
        Self {
            way: self.way.clone(),
        }
    }
}

impl<T> Drop for Lane<T> {
    fn drop(&mut self) {
        let mut state = self.way.lock();
        state.near_ends -= 1;
        let is_last = state.near_ends == 0;
        drop(state);
        if is_last {
            self.way.filled.notify_one();
        }
    }
}

impl<T> End<T> {
    /// Takes what is next into `batch`, which is empty: lines of one VM, or what goes first. Waits
    /// for it until that time, or for ever.
    pub(super) fn take(&self, until: Option<Instant>, batch: &mut Vec<T>) -> Came {
        let mut state = self.way.lock();
        loop {
            if let Some(next) = state.turns.next() {
                drop(state);
                self.move_next(next, batch);
                return Came::Batch;
            }
            if state.near_ends == 0 {
                return Came::Closed;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Came::Nothing;
            }
            state.thread_waits = true;
            state = match left {
                None => self.way.filled.wait(state),
                Some(left) => self
                    .way
                    .filled
                    .wait_timeout(state, left)
                    .map(|(state, _timed_out)| state)
                    .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0)),
            }
            .unwrap_or_else(PoisonError::into_inner);
            state.thread_waits = false;
        }
    }

    fn move_next(&self, next: Next<T>, batch: &mut Vec<T>) {
        match next {
            Next::Notes(mut notes) => batch.append(&mut notes),
            Next::Turn(place) => {
                if place.take(batch) {
                    self.way.lock().turns.wants(place);
                }
            }
        }
    }

    /// Lines of `bytes` of that place are written.
    pub(super) fn done(&self, place: &Place<T>, bytes: usize) {
        place.done(bytes);
        self.way.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let mut state = self.way.lock();
        state.thread_is_gone = true;
        let mut left = std::mem::take(&mut state.turns);
        // What is left may own near ends, which lock this, too.
        drop(state);
        while let Some(next) = left.next() {
            if let Next::Turn(place) = next {
                place.clear();
            }
        }
    }
}

impl<T> Way<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one line more is within the bounds but for its own length.
fn fits(mine: usize, all: usize) -> bool {
    let left = MAX_QUEUED_BYTES.saturating_sub(all);
    let share = if is_on(Guard::LogRoom) {
        left.min(MAX_WAITING_BYTES)
    } else {
        MAX_WAITING_BYTES
    };
    mine < share && left > 0
}

#[cfg(test)]
mod tests;
