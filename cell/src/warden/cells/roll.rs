//! The cells that run, and the last that have ended: plain data that somebody else locks.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::{Cell, CellEnd, EndedCell};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Order, lock};
use crate::guards::{Guard, is_on};

/// Ended cells that are remembered.
const MAX_ENDED: usize = agentvm_policy::budget::ENDED_CELLS.usize();

/// One cell, as long as its process lives.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) facts: Cell,
    pub(super) order_tx: mpsc::Sender<Order>,
    /// Names the process even where its id is another's by now; `None` where the kernel gave none.
    pub(super) process: Option<Arc<OwnedFd>>,
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
            process: pidfd(facts.pid),
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

    /// Kills it at once, whatever its attendant waits for. False where that must be left to it.
    pub(super) fn kill(&self) -> bool {
        let kill = |process: &Arc<OwnedFd>| {
            rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL).is_ok()
        };
        self.process.as_ref().is_some_and(kill)
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

fn pidfd(pid: u32) -> Option<Arc<OwnedFd>> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    let opened = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty());
    opened.ok().map(Arc::new)
}

/// The cells that run, by namespace, and the last that have ended, oldest first.
#[derive(Debug, Default)]
pub(super) struct Roll {
    pub(super) running: BTreeMap<String, Running>,
    pub(super) ended: VecDeque<EndedCell>,
    /// Those that are being started.
    starting: usize,
}

/// A cell that is being started, until this is dropped.
#[derive(Debug)]
pub(super) struct Starting(Arc<Mutex<Roll>>);

impl Drop for Starting {
    fn drop(&mut self) {
        lock(&self.0).starting -= 1;
    }
}

/// Takes room for one more cell, where there are fewer than `most`.
pub(super) fn room(roll: &Arc<Mutex<Roll>>, most: u32) -> Result<Starting, Problem> {
    let mut held = lock(roll);
    let cells = held.running.len() + held.starting;
    if cells >= usize::try_from(most).unwrap_or(usize::MAX) && is_on(Guard::CellBound) {
        let message = format!(
            "the node runs the cells of {cells} namespaces and {most} is the most (--max-cells of the warden): \
             try again when one of them is gone"
        );
        return Err(Problem {
            reason: Reason::Exhausted,
            message,
        });
    }
    held.starting += 1;
    Ok(Starting(roll.clone()))
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
    use crate::guards::switch_off;

    fn running(namespace: &str) -> Running {
        let facts = Cell {
            namespace: namespace.to_owned(),
            socket: String::new(),
            pid: 0,
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
    fn cells_are_bounded_with_those_that_are_being_started() {
        let roll = Arc::new(Mutex::new(Roll::default()));
        lock(&roll)
            .running
            .insert("heron".to_owned(), running("heron"));
        let starting = room(&roll, 2).unwrap();
        let refused = room(&roll, 2).unwrap_err();
        assert_eq!(refused.reason, Reason::Exhausted);
        assert!(
            refused
                .message
                .contains("of 2 namespaces and 2 is the most")
        );
        drop(starting);
        let _starting = room(&roll, 2).unwrap();
        let beyond = switch_off(Guard::CellBound, || room(&roll, 2));
        assert!(beyond.is_ok());
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
