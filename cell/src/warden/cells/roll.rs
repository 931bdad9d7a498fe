//! The cells that run, and the last that have ended: plain data that somebody else locks.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use agentvm_cell_api::warden::{Cell, CellEnd, EndedCell};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Order;

/// Ended cells that are remembered.
const MAX_ENDED: usize = agentvm_policy::budget::ENDED_CELLS.usize();

/// One cell, as long as its process lives.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) facts: Cell,
    pub(super) order_tx: mpsc::Sender<Order>,
    /// Cancelled when the process is reaped.
    pub(super) ended: CancellationToken,
    /// What its live VMs were promised, as it has said last.
    pub(super) promised: Arc<AtomicU64>,
    /// Why it was told to end, where it was. The first reason stays.
    pub(super) cause: Arc<OnceLock<Cause>>,
}

/// Why a cell was told to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) reason: CellEnd,
    /// One sentence for a person.
    pub(super) message: String,
}

impl Running {
    /// A cell of which nothing is known but its facts.
    pub(super) fn new(facts: Cell, order_tx: mpsc::Sender<Order>) -> Self {
        Self {
            facts,
            order_tx,
            ended: CancellationToken::new(),
            promised: Arc::default(),
            cause: Arc::default(),
        }
    }

    /// Bytes that its live VMs were promised.
    pub(super) fn promised_bytes(&self) -> u64 {
        self.promised.load(Ordering::Relaxed)
    }

    /// What is remembered of it, once its process ended as `how` says.
    fn record(&self, how: &str, now_unix_ms: u64) -> EndedCell {
        let cause = self.cause.get().cloned().unwrap_or_else(|| Cause {
            reason: CellEnd::Exited,
            message: format!("the cell's process ended without being told to: {how}"),
        });
        EndedCell {
            namespace: self.facts.namespace.clone(),
            instance: self.facts.instance.clone(),
            reason: cause.reason,
            message: cause.message,
            finished_unix_ms: now_unix_ms,
        }
    }
}

/// The cells that run, by namespace, and the last that have ended, oldest first.
#[derive(Debug, Default)]
pub(super) struct Roll {
    pub(super) running: BTreeMap<String, Running>,
    pub(super) ended: VecDeque<EndedCell>,
}

impl Roll {
    /// Moves a cell from those that run to those that have ended, in one step.
    pub(super) fn strike(&mut self, namespace: &str, how: &str, now_unix_ms: u64) {
        let Some(gone) = self.running.remove(namespace) else {
            return;
        };
        self.ended.push_back(gone.record(how, now_unix_ms));
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(namespace: &str) -> Running {
        let facts = Cell {
            namespace: namespace.to_owned(),
            socket: String::new(),
            pid: 1,
            instance: format!("instance of {namespace}"),
            started_unix_ms: 1,
        };
        Running::new(facts, mpsc::channel(1).0)
    }

    #[test]
    fn an_ended_cell_is_remembered_with_the_first_reason_that_it_was_told() {
        let mut roll = Roll::default();
        let cell = running("heron");
        let told = Cause {
            reason: CellEnd::MemoryPressure,
            message: "too large".to_owned(),
        };
        cell.cause.set(told).unwrap();
        let later = Cause {
            reason: CellEnd::Stopped,
            message: "asked".to_owned(),
        };
        cell.cause.set(later).unwrap_err();
        roll.running.insert("heron".to_owned(), cell);
        roll.strike("heron", "signal: 9", 7);
        assert!(roll.running.is_empty());
        let expected = EndedCell {
            namespace: "heron".to_owned(),
            instance: "instance of heron".to_owned(),
            reason: CellEnd::MemoryPressure,
            message: "too large".to_owned(),
            finished_unix_ms: 7,
        };
        assert_eq!(roll.ended, [expected]);
    }

    #[test]
    fn a_cell_that_nobody_told_has_exited_and_the_record_says_how() {
        let mut roll = Roll::default();
        roll.running.insert("heron".to_owned(), running("heron"));
        roll.strike("heron", "signal: 11 (SIGSEGV)", 7);
        roll.strike("egret", "never ran", 8);
        assert_eq!(roll.ended.len(), 1);
        assert_eq!(roll.ended[0].reason, CellEnd::Exited);
        assert!(roll.ended[0].message.ends_with("signal: 11 (SIGSEGV)"));
    }

    #[test]
    fn the_oldest_ends_are_forgotten() {
        let mut roll = Roll::default();
        for number in 0..=MAX_ENDED {
            let name = number.to_string();
            roll.running.insert(name.clone(), running(&name));
            roll.strike(&name, "exit status: 0", 7);
        }
        assert_eq!(roll.ended.len(), MAX_ENDED);
        assert_eq!(roll.ended[0].namespace, "1");
    }
}
