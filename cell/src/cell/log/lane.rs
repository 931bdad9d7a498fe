//! The way to one of the threads that write lines: bounded, and shared so that floods leave room.
//!
//! A VM may have no more lines in it than there is room left. Ten VMs that flood it fill ten
//! elevenths of it, a hundred leave a hundredth: whoever writes a few lines now and then finds
//! room for them, however many others write all they can.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::guards::{Guard, is_on};

/// Lines that may wait in it.
const MAX_QUEUED: usize = agentvm_policy::budget::QUEUED_LINES.usize();

/// Lines of one VM among them.
const MAX_WAITING_LINES: usize = agentvm_policy::budget::WAITING_LINES.usize();

/// The near end.
#[derive(Debug)]
pub(super) struct Lane<T> {
    tx: SyncSender<T>,
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

/// Lines that wait, of one VM or of all.
#[derive(Debug, Default)]
pub(super) struct Waiting(AtomicUsize);

impl Waiting {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// One of them is written.
    pub(super) fn done(&self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A new one, with both ends.
pub(super) fn lane<T>() -> (Lane<T>, End<T>) {
    let (tx, rx) = sync_channel(MAX_QUEUED);
    let all = Arc::<Waiting>::default();
    let near = Lane {
        tx,
        all: all.clone(),
    };
    (near, End { rx, all })
}

impl<T> Lane<T> {
    /// Whether a VM that has `mine` in it may put another.
    pub(super) fn has_room(&self, mine: &Waiting) -> bool {
        fits(mine.count(), self.all.count())
    }

    /// Lines of all VMs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.all.count()
    }

    /// Puts a line in, where there is room for it.
    pub(super) fn line(&self, mine: &Waiting, line: T) -> bool {
        if !self.has_room(mine) {
            return false;
        }
        // Counted before it is sent: the thread may have written it before this goes on.
        mine.add();
        self.all.add();
        let sent = self.send(line);
        if !sent {
            mine.done();
            self.all.done();
        }
        sent
    }

    /// Puts something in that is no line.
    pub(super) fn send(&self, what: T) -> bool {
        self.tx.try_send(what).is_ok()
    }
}

fn fits(mine: usize, all: usize) -> bool {
    let left = MAX_QUEUED.saturating_sub(all);
    let share = if is_on(Guard::LogRoom) {
        left.min(MAX_WAITING_LINES)
    } else {
        MAX_WAITING_LINES
    };
    mine < share && left > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    /// Lines that one VM gets in after `floods` others have put in all they could.
    fn room_beside(floods: usize) -> usize {
        let (lane, _end) = lane();
        let others: Vec<Waiting> = (0..floods).map(|_| Waiting::default()).collect();
        // All at the same time: a line of each, and again.
        while others.iter().filter(|mine| lane.line(mine, ())).count() > 0 {}
        let mine = Waiting::default();
        (0..MAX_QUEUED).filter(|_| lane.line(&mine, ())).count()
    }

    #[test]
    fn b11_a_flood_of_many_vms_leaves_room_for_the_lines_of_another() {
        assert_eq!(room_beside(0), MAX_WAITING_LINES);
        assert!(room_beside(5) >= MAX_WAITING_LINES / 2);
        assert!(room_beside(20) >= 64);
        assert!(room_beside(400) >= 4);
        assert_eq!(switch_off(Guard::LogRoom, || room_beside(20)), 0);
    }
}
