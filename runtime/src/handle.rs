//! What stands between a running VM and whoever runs it: its handle and what they share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use agentvm_policy::EndReason;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::budget::Budget;
use crate::guards::{Guard, is_on};
use crate::usage::Usage;

/// A grace that no VM outlives.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);

/// Watches and steers one VM. Cloning it is cheap; it does not keep the VM alive.
#[derive(Clone, Debug)]
pub struct VmHandle {
    pub(crate) shared: Arc<Shared>,
}

impl VmHandle {
    /// What the VM has used so far. Costs a few loads of memory.
    pub fn usage(&self) -> Usage {
        self.shared.budget.usage()
    }

    /// Sets the CPU quota from now on.
    pub fn set_cpu_millicores(&self, millicores: u64) {
        self.shared.budget.cpu.set_millicores(millicores);
        self.shared.control().wake();
    }

    /// Charges the VM for CPU time that was used for it outside of [`crate::Vm::run`], such as
    /// for writing its log: it counts as the VM's own, and the VM waits for it where its quota
    /// is used up. May be called from any thread, while the VM sleeps, and after its end.
    pub fn charge_cpu(&self, used: Duration) {
        self.shared.budget.charge_cpu(used);
    }

    /// Sets how many requests the VM may have in flight from now on.
    pub fn set_connections(&self, connections: u64) {
        self.shared.budget.exchanges.set_most(connections);
    }

    /// The CPU quota that holds now, in thousandths of a core.
    pub fn cpu_millicores(&self) -> u64 {
        self.shared.budget.cpu.millicores()
    }

    /// Closes the guest's stdin now and ends the guest with `reason` when `grace` is over.
    ///
    /// A later stop can only bring the end forward, and then its reason holds.
    pub fn stop(&self, reason: EndReason, grace: Duration) {
        let now = Instant::now();
        let at = now.checked_add(grace.min(FOREVER)).unwrap_or(now);
        let mut control = self.shared.control();
        if control.stop.is_none_or(|stop| at < stop.at) {
            control.stop = Some(Stop { reason, at });
        }
        control.wake();
        drop(control);
        // Last: a guest that exits at once must find why it was asked to.
        self.shared.stdin.open();
    }

    /// Resolves when the first instruction of the guest is about to run, or when it is
    /// clear that none ever will because the VM has ended.
    pub async fn started(&self) {
        self.shared.started.opened().await;
    }
}

/// Shared by a VM, its host functions and its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) budget: Arc<Budget>,
    /// Opens when stdin is closed: from then on it is at its end.
    pub(crate) stdin: Gate,
    /// Opens when the first guest instruction is about to run.
    pub(crate) started: Gate,
    control: Mutex<Control>,
}

impl Shared {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget: Arc::new(budget),
            stdin: Gate::default(),
            started: Gate::default(),
            control: Mutex::default(),
        }
    }

    pub(crate) fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a handle asks of the running VM.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) stop: Option<Stop>,
    waker: Option<Waker>,
}

/// An end that was asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) reason: EndReason,
    pub(crate) at: Instant,
}

impl Control {
    /// Has `waker` woken at the next change.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            None => self.waker = Some(waker.clone()),
        }
    }

    /// Nobody is to be woken any more. The waker is the caller's to drop, outside the lock: it
    /// holds the task, and the task who pays for it, which is this VM.
    pub(crate) fn forget_waker(&mut self) -> Option<Waker> {
        self.waker.take()
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Something that happens once and that many may wait for.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: AtomicBool,
    opened: Notify,
}

impl Gate {
    pub(crate) fn open(&self) {
        if !self.open.swap(true, Ordering::AcqRel) && is_on(Guard::StdinWake) {
            self.opened.notify_waiters();
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(crate) async fn opened(&self) {
        if self.is_open() {
            return;
        }
        let opened = self.opened.notified();
        tokio::pin!(opened);
        opened.as_mut().enable();
        if !self.is_open() {
            opened.await;
        }
    }
}
