//! What waits in a lane, and whose turn it is.

use std::collections::{BTreeMap, VecDeque};

use crate::guards::{Guard, is_on};

/// Bytes of lines that one VM's turn takes: as much as one write to a pipe keeps together.
const TURN_BYTES: usize = agentvm_policy::budget::LOG_TURN_BYTES.usize();

/// The lines of each VM, in their order, and the VMs in theirs.
#[derive(Debug)]
pub(super) struct Turns<T> {
    /// What goes before all lines.
    notes: Vec<T>,
    /// Those that have lines, the one that is next first.
    next: VecDeque<u64>,
    /// Their lines, and how long each is.
    lines: BTreeMap<u64, VecDeque<(usize, T)>>,
}

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self {
            notes: Vec::new(),
            next: VecDeque::new(),
            lines: BTreeMap::new(),
        }
    }
}

impl<T> Turns<T> {
    /// A line of `bytes` of the VM of that number.
    pub(super) fn line(&mut self, vm: u64, bytes: usize, line: T) {
        let vm = if is_on(Guard::LogTurns) { vm } else { 0 };
        let lines = self.lines.entry(vm).or_default();
        if lines.is_empty() {
            self.next.push_back(vm);
        }
        lines.push_back((bytes, line));
    }

    /// Something that is no line.
    pub(super) fn note(&mut self, what: T) {
        self.notes.push(what);
    }

    /// Moves what is next into `batch`; false where nothing waits.
    pub(super) fn take(&mut self, batch: &mut Vec<T>) -> bool {
        if !self.notes.is_empty() {
            batch.append(&mut self.notes);
            return true;
        }
        let Some(vm) = self.next.pop_front() else {
            return false;
        };
        let Some(lines) = self.lines.get_mut(&vm) else {
            return false;
        };
        let mut left = TURN_BYTES;
        // The first one always: a line that is longer than a turn has one for itself.
        while let Some((bytes, _)) = lines.front()
            && (*bytes <= left || batch.is_empty())
        {
            left = left.saturating_sub(*bytes);
            batch.extend(lines.pop_front().map(|(_, line)| line));
        }
        if lines.is_empty() {
            self.lines.remove(&vm);
        } else {
            self.next.push_back(vm);
        }
        true
    }
}
