//! The way to one of the threads that write lines: bounded in bytes, and shared so that floods leave
//! room.
//!
//! A VM may have no more in it than there is room left. Ten VMs that flood it fill ten elevenths of
//! it, a hundred leave a hundredth: whoever writes a few lines now and then finds room for them,
//! however many others write all they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::guards::{Guard, is_on};

/// Bytes of lines that may wait in it.
const MAX_QUEUED_BYTES: usize = agentvm_policy::budget::QUEUED_LOG_BYTES.usize();

/// Those of one VM among them.
const MAX_WAITING_BYTES: usize = agentvm_policy::budget::WAITING_LOG_BYTES.usize();

/// The near end.
#[derive(Debug)]
pub(super) struct Lane<T> {
    /// Bounded by what is counted beside it.
    tx: Sender<T>,
    all: Arc<Waiting>,
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Self {
            tx: self.tx.clone(),
            all: self.all.clone(),
        }
    }
}

/// The far end, for the thread.
#[derive(Debug)]
pub(super) struct End<T> {
    pub(super) rx: Receiver<T>,
    pub(super) all: Arc<Waiting>,
}

/// Bytes of lines that wait, of one VM or of all.
#[derive(Debug, Default)]
pub(super) struct Waiting(AtomicUsize);

impl Waiting {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// So many of them are written.
    pub(super) fn done(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }
}

/// A new one, with both ends.
pub(super) fn lane<T>() -> (Lane<T>, End<T>) {
    let (tx, rx) = channel();
    let all = Arc::<Waiting>::default();
    let near = Lane {
        tx,
        all: all.clone(),
    };
    (near, End { rx, all })
}

impl<T> Lane<T> {
    /// Whether a VM that has `mine` in it may put another line.
    pub(super) fn has_room(&self, mine: &Waiting) -> bool {
        fits(mine.bytes(), self.all.bytes())
    }

    /// Bytes of all VMs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.all.bytes()
    }

    /// Puts a line of `bytes` in, where there is room.
    pub(super) fn line(&self, mine: &Waiting, bytes: usize, line: T) -> bool {
        if !self.has_room(mine) {
            return false;
        }
        // Counted before it is sent: the thread may have written it before this goes on.
        mine.add(bytes);
        self.all.add(bytes);
        self.send(line)
    }

    /// Puts something in that is no line; false where nobody takes it any more.
    pub(super) fn send(&self, what: T) -> bool {
        self.tx.send(what).is_ok()
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
mod tests {
    use super::*;
    use crate::guards::switch_off;

    /// Lines of 1 KiB that one VM gets in beside `floods` others that put in all they can.
    fn room_beside(floods: usize) -> usize {
        let (lane, _end) = lane();
        let put = |mine: &Waiting| lane.line(mine, 1 << 10, ());
        let others: Vec<Waiting> = (0..floods).map(|_| Waiting::default()).collect();
        // All at the same time: a line of each, and again.
        while others.iter().filter(|mine| put(mine)).count() > 0 {}
        let mine = Waiting::default();
        (0..MAX_QUEUED_BYTES).take_while(|_| put(&mine)).count()
    }

    #[test]
    fn b11_a_flood_of_many_vms_leaves_room_for_the_lines_of_another() {
        assert_eq!(room_beside(0), MAX_WAITING_BYTES >> 10);
        assert!(room_beside(5) >= MAX_WAITING_BYTES >> 11);
        assert!(room_beside(20) >= 256);
        assert!(room_beside(400) >= 16);
        assert_eq!(switch_off(Guard::LogRoom, || room_beside(20)), 0);
    }

    #[test]
    fn what_is_written_makes_room() {
        let (lane, end) = lane();
        let mine = Waiting::default();
        while lane.line(&mine, 4_096, ()) {}
        assert_eq!(mine.bytes(), MAX_WAITING_BYTES);
        mine.done(4_096);
        end.all.done(4_096);
        assert!(lane.line(&mine, 4_096, ()) && !lane.line(&mine, 1, ()));
    }
}
