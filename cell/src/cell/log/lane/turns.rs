//! What waits in a lane, and whose turn it is.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of lines that one VM's turn takes: as much as one write to a pipe keeps together.
const TURN_BYTES: usize = agentvm_policy::budget::LOG_TURN_BYTES.usize();

/// The VMs that have lines, the one that is next first.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// What goes before all lines.
    notes: Vec<T>,
    next: VecDeque<Arc<Place<T>>>,
}

/// What is next.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// Something that is no line, all of it.
    Notes(Vec<T>),
    /// A turn of this VM.
    Turn(Arc<Place<T>>),
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            notes: Vec::new(),
            next: VecDeque::new(),
        }
    }
}

impl<T> Turns<T> {
    /// A VM has lines, and had none, or has some left after its turn.
    pub(super) fn wants(&mut self, place: Arc<Place<T>>) {
        self.next.push_back(place);
    }

    /// Something that is no line.
    pub(super) fn note(&mut self, what: T) {
        self.notes.push(what);
    }

    pub(super) fn next(&mut self) -> Option<Next<T>> {
        if self.notes.is_empty() {
            self.next.pop_front().map(Next::Turn)
        } else {
            Some(Next::Notes(std::mem::take(&mut self.notes)))
        }
    }
}

/// One VM's place in a lane.
///
/// Its lines have a lock of their own: the one of all is taken once for a turn, not once for a
/// line, so that who writes a line does not wait for floods.
#[derive(Debug)]
pub(in crate::cell::log) struct Place<T> {
    /// How long each line is, and the line.
    lines: Mutex<VecDeque<(usize, T)>>,
    bytes: AtomicUsize,
}

impl<T> Default for Place<T> {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            bytes: AtomicUsize::new(0),
        }
    }
}

impl<T> Place<T> {
    /// Bytes of its lines that wait.
    pub(in crate::cell::log) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    pub(super) fn count(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn done(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    /// Adds a line; true where it had none, and wants a turn now.
    pub(super) fn push(&self, bytes: usize, line: T) -> bool {
        let mut lines = self.lines();
        lines.push_back((bytes, line));
        lines.len() == 1
    }

    /// Moves a turn's lines into `batch`; true where some are left.
    pub(super) fn take(&self, batch: &mut Vec<T>) -> bool {
        let mut lines = self.lines();
        let mut left = TURN_BYTES;
        // The first one always: a line that is longer than a turn has one for itself.
        while let Some((bytes, _)) = lines.front()
            && (*bytes <= left || batch.is_empty())
        {
            left = left.saturating_sub(*bytes);
            batch.extend(lines.pop_front().map(|(_, line)| line));
        }
        !lines.is_empty()
    }

    /// Nobody takes what is there any more.
    pub(super) fn clear(&self) {
        let lines = std::mem::take(&mut *self.lines());
        drop(lines);
    }

    fn lines(&self) -> MutexGuard<'_, VecDeque<(usize, T)>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
