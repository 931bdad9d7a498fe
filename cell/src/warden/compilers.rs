//! The compilers of this warden: who waits for one, who has one, and which can be ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_policy::budget;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::digest::Digest;
use super::memory::{Weight, Who};
use super::queue::{Bounds, Full, Name, Queue, Ticket};

/// All of them. Cheap to copy.
#[derive(Clone, Debug)]
pub(super) struct Compilers(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    queue: Queue,
    /// Those that wait for their turn.
    turns: BTreeMap<Ticket, oneshot::Sender<()>>,
    /// The processes.
    processes: BTreeMap<Ticket, Process>,
}

/// A compiler's process.
#[derive(Clone, Debug)]
struct Process {
    /// It is ours as long as it is listed.
    pid: u32,
    /// Ends it, when cancelled; the module can be tried again.
    shed: CancellationToken,
    /// Cancelled when it is reaped.
    gone: CancellationToken,
}

/// One module's place: left, and the next one's turn, when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    compilers: Compilers,
    ticket: Ticket,
}

impl Compilers {
    /// Compilers as many as the settings say.
    pub(super) fn new(settings: &Settings) -> Self {
        Self::within(Bounds {
            at_once: usize::try_from(settings.compilers).unwrap_or(1),
            waiting: budget::MODULES_WAITING.usize(),
            total: budget::ALL_MODULES_WAITING.usize(),
            waiting_bytes: budget::MODULES_WAITING_BYTES.value,
            total_bytes: budget::ALL_MODULES_WAITING_BYTES.value,
        })
    }

    /// Compilers within these bounds.
    pub(super) fn within(bounds: Bounds) -> Self {
        Self(Arc::new(Mutex::new(State {
            queue: Queue::new(bounds),
            turns: BTreeMap::new(),
            processes: BTreeMap::new(),
        })))
    }

    /// A place for a module that is about to arrive.
    pub(super) fn enter(&self, namespace: Name) -> Result<Place, Problem> {
        let ticket = self.lock().queue.enter(namespace).map_err(exhausted)?;
        Ok(Place {
            compilers: self.clone(),
            ticket,
        })
    }

    /// Modules that have a compiler, and that wait for one.
    pub(super) fn count(&self) -> (u64, u64) {
        let state = self.lock();
        let [running, waiting] = [state.queue.running(), state.queue.waiting_total()]
            .map(|count| u64::try_from(count).unwrap_or(u64::MAX));
        (running, waiting)
    }

    /// What every compiler takes. Nobody was promised it.
    pub(super) fn weigh(&self) -> Vec<Weight> {
        let weight_of = |process: &Process| {
            Some(Weight {
                who: Who::Compiler(process.pid),
                promised: 0,
                resident: super::private_bytes(process.pid)?,
            })
        };
        self.lock()
            .processes
            .values()
            .filter_map(weight_of)
            .collect()
    }

    /// Has the compiler with this process id end, since the node is short of memory; waits until
    /// it is gone.
    pub(super) async fn shed(&self, pid: u32) {
        let found = self.process(pid);
        if let Some(Process { shed, gone, .. }) = found {
            shed.cancel();
            gone.cancelled().await;
        }
    }

    fn process(&self, pid: u32) -> Option<Process> {
        let state = self.lock();
        let mut processes = state.processes.values();
        processes.find(|process| process.pid == pid).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds this lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start_those_next(&mut self) {
        while let Some(ticket) = self.queue.start_next(Instant::now()) {
            let told = self
                .turns
                .remove(&ticket)
                .is_some_and(|turn_tx| turn_tx.send(()).is_ok());
            if !told {
                self.queue.leave(ticket, Instant::now());
            }
        }
    }
}

impl Place {
    /// Takes in more bytes of the module.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Problem> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut state = self.compilers.lock();
        state.queue.grow(self.ticket, bytes).map_err(exhausted)
    }

    /// Waits until it is this module's turn; then nobody else's module takes its compiler until
    /// the place is dropped. Where this is dropped, so must the place be.
    pub(super) async fn turn(&self, digest: &Digest) {
        let turn_rx = {
            let (turn_tx, turn_rx) = oneshot::channel();
            let mut state = self.compilers.lock();
            state.turns.insert(self.ticket, turn_tx);
            state.queue.wait(self.ticket, digest.clone());
            state.start_those_next();
            turn_rx
        };
        // The sender is there until it is this one's turn.
        let _its_turn = turn_rx.await;
    }

    /// Lists its compiler's process until the guard is dropped, which must be as soon as it is reaped.
    pub(super) fn list(&self, pid: u32) -> Listed<'_> {
        let process = Process {
            pid,
            shed: CancellationToken::new(),
            gone: CancellationToken::new(),
        };
        let shed = process.shed.clone();
        self.compilers.lock().processes.insert(self.ticket, process);
        Listed { place: self, shed }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.compilers.lock();
        state.turns.remove(&self.ticket);
        state.queue.leave(self.ticket, Instant::now());
        state.start_those_next();
    }
}

/// A listed process.
#[derive(Debug)]
pub(super) struct Listed<'a> {
    place: &'a Place,
    /// Cancelled when the process shall end.
    pub(super) shed: CancellationToken,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        let mut state = self.place.compilers.lock();
        if let Some(process) = state.processes.remove(&self.place.ticket) {
            process.gone.cancel();
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `map_err` gives it")]
fn exhausted(full: Full) -> Problem {
    Problem {
        reason: Reason::Exhausted,
        message: full.to_string(),
    }
}
