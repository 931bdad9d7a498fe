//! The table of a cell's VMs: what is there, in which state, and since which version.

mod decide;
mod growth;
mod table;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::{End, Usage, VmList, VmSpec, VmState, VmStatus};
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_policy::EndReason;
use agentvm_runtime::Ending;
use agentvm_runtime::vfs::{Filesystem, Growth};
use tokio::sync::{Notify, watch};

use super::log::VmLog;
use super::unix_ms_now;
use decide::{Decision, decide};
pub(super) use table::{Entry, Table};

/// What came of a `PUT`.
#[derive(Debug)]
pub(super) enum Put {
    /// It is new: run it.
    Started(VmStatus),
    /// It was there; its live limits hold now.
    Updated(VmStatus),
}

/// What came of a `DELETE`.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It is being stopped.
    Stopping(VmStatus),
    /// It had ended and is forgotten; the files that it had kept are the caller's to free.
    Forgotten(VmStatus, Option<Filesystem>),
}

/// The table, shared by tasks.
#[derive(Debug)]
pub(super) struct Vms {
    table: Mutex<Table>,
    max_live: usize,
    version_tx: watch::Sender<u64>,
    deadlines_moved: Notify,
    /// What the clock of marks counts from.
    began: Instant,
}

impl Vms {
    /// No VMs yet, and at most `max_live` at once.
    pub(super) fn new(max_live: u32) -> Self {
        Self {
            table: Mutex::new(Table {
                version: 1,
                entries: BTreeMap::new(),
                growth: Growth::Allowed,
            }),
            max_live: usize::try_from(max_live).unwrap_or(usize::MAX),
            version_tx: watch::Sender::new(1),
            deadlines_moved: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Updates the VM, or says that it is to be started: then `None`.
    pub(super) fn update(&self, uid: &str, spec: &VmSpec) -> Result<Option<VmStatus>, Problem> {
        let mut table = self.lock();
        let held = table.entries.get(uid);
        let asked = spec.without_files();
        match decide(uid, held.map(|entry| (&entry.spec, entry.state)), &asked)? {
            Decision::Start => {
                self.room(&table)?;
                Ok(None)
            }
            Decision::Same => Ok(held.map(|entry| entry.status(uid))),
            Decision::Update => {
                let mut updated = Ok(());
                let status = table.change(uid, |entry| updated = entry.update(spec));
                self.publish(&table);
                updated.map(|()| status)
            }
        }
    }

    /// Puts a VM that is about to start into the table, unless another came first.
    pub(super) fn insert(&self, uid: &str, entry: Entry, spec: &VmSpec) -> Result<Put, Problem> {
        if let Some(status) = self.update(uid, spec)? {
            return Ok(Put::Updated(status));
        }
        let mut table = self.lock();
        self.room(&table)?;
        if table.entries.contains_key(uid) {
            return Err(Problem {
                reason: Reason::Conflict,
                message: format!("VM {uid} is being started by another request"),
            });
        }
        let (growth, now) = (table.growth, self.began.elapsed());
        if let Some(filesystem) = &entry.filesystem {
            filesystem.set_growth(growth);
        }
        table.entries.insert(uid.to_owned(), entry);
        let status = table.change(uid, |new| {
            new.mark(growth, now);
        });
        self.publish(&table);
        status.map(Put::Started).ok_or_else(|| Problem {
            reason: Reason::Internal,
            message: format!("VM {uid} vanished while it was started"),
        })
    }

    /// Stops a VM with grace, or forgets it where it has ended.
    pub(super) fn delete(&self, uid: &str, reason: EndReason, grace: Duration) -> Option<Deleted> {
        let mut table = self.lock();
        if table.entries.get(uid)?.state == VmState::Ended {
            let mut entry = table.entries.remove(uid)?;
            self.publish_removal(&mut table);
            let kept = entry.filesystem.take();
            return Some(Deleted::Forgotten(entry.status(uid), kept));
        }
        drop(table);
        self.stop(uid, reason, grace).map(Deleted::Stopping)
    }

    /// Stops a VM with grace; a later call can only shorten it.
    pub(super) fn stop(&self, uid: &str, reason: EndReason, grace: Duration) -> Option<VmStatus> {
        let mut table = self.lock();
        let entry = table.entries.get(uid)?;
        entry.handle.stop(reason, grace);
        match entry.state {
            VmState::Starting | VmState::Running => {
                let status = table.change(uid, |entry| entry.state = VmState::Stopping);
                self.publish(&table);
                status
            }
            VmState::Stopping | VmState::Ended => Some(entry.status(uid)),
        }
    }

    /// Stops a VM because its fencing deadline has passed: now, whatever grace it was given.
    pub(super) fn fence(&self, uid: &str) {
        if let Some(entry) = self.lock().entries.get_mut(uid) {
            entry.fenced = true;
        }
        self.stop(uid, EndReason::Fenced, Duration::ZERO);
    }

    /// Stops every VM that has not ended.
    pub(super) fn stop_all(&self, reason: EndReason, grace: Duration) {
        let uids: Vec<String> = self.lock().entries.keys().cloned().collect();
        for uid in uids {
            self.stop(&uid, reason, grace);
        }
    }

    /// The guest's first instruction is about to run.
    pub(super) fn started(&self, uid: &str) {
        let mut table = self.lock();
        table.change(uid, |entry| {
            if entry.state == VmState::Starting {
                entry.state = VmState::Running;
            }
            entry.start_latency = entry.asked.elapsed();
            entry.started_unix_ms = Some(unix_ms_now());
        });
        self.publish(&table);
    }

    /// The run is over. Yields its files, unless they are to be kept: whoever gets them last
    /// frees them, which takes its time.
    pub(super) fn ended(&self, uid: &str, ending: Ending) -> Option<Filesystem> {
        let Ending {
            reason,
            exit_code,
            message,
        } = ending;
        let mut files = None;
        let mut table = self.lock();
        table.change(uid, |entry| {
            let mut usage = entry.usage();
            usage.memory_bytes = 0;
            if !entry.spec.keep_files {
                usage.storage_bytes = 0;
                usage.inodes = 0;
                files = entry.filesystem.take();
            }
            entry.storage_pressure = false;
            entry.presses.clear();
            entry.state = VmState::Ended;
            entry.end = Some(End {
                reason,
                exit_code,
                message,
                finished_unix_ms: unix_ms_now(),
                usage,
            });
        });
        self.publish(&table);
        self.deadlines_moved.notify_waiters();
        files
    }

    /// The files of a VM that has ended, and the most bytes that it could store.
    pub(super) fn kept_files(&self, uid: &str) -> Option<Result<(Filesystem, u64), Problem>> {
        let table = self.lock();
        let entry = table.entries.get(uid)?;
        let kept = entry.filesystem.clone().ok_or_else(|| Problem {
            reason: Reason::NotFound,
            message: format!("the files of VM {uid} are not kept: its keepFiles is not set"),
        });
        if entry.state != VmState::Ended {
            return Some(Err(Problem {
                reason: Reason::Conflict,
                message: format!("VM {uid} runs: its files can be read when it has ended"),
            }));
        }
        let most = entry.spec.grants.limits.storage_bytes;
        Some(kept.map(|files| (files, most)))
    }

    /// One VM.
    pub(super) fn get(&self, uid: &str) -> Option<VmStatus> {
        self.lock().entries.get(uid).map(|entry| entry.status(uid))
    }

    /// One VM's log.
    pub(super) fn log(&self, uid: &str) -> Option<Arc<VmLog>> {
        self.lock().entries.get(uid).map(|entry| entry.log.clone())
    }

    /// What every VM has used.
    pub(super) fn usage(&self) -> BTreeMap<String, Usage> {
        let table = self.lock();
        table
            .entries
            .iter()
            .map(|(uid, entry)| (uid.clone(), entry.usage()))
            .collect()
    }

    /// What changed after version `since`, at once if something did, else after `wait`.
    ///
    /// 0, or a version that this cell never had, asks for everything at once.
    pub(super) async fn changed_since(&self, since: u64, wait: Duration) -> VmList {
        let unknown = since == 0 || since > self.lock().version;
        let since = if unknown { 0 } else { since };
        if !unknown {
            let changed =
                self.wait_until(|table| table.entries.values().any(|entry| entry.version > since));
            let _nothing_changed = tokio::time::timeout(wait, changed).await;
        }
        let table = self.lock();
        let changed = table
            .entries
            .iter()
            .filter(|(_, entry)| entry.version > since);
        VmList {
            version: table.version,
            vms: changed.map(|(uid, entry)| entry.status(uid)).collect(),
        }
    }

    /// Waits until `holds` does.
    pub(super) async fn wait_until(&self, holds: impl Fn(&Table) -> bool) {
        let mut version_rx = self.version_tx.subscribe();
        loop {
            version_rx.mark_unchanged();
            if holds(&self.lock()) || version_rx.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks the table something.
    pub(super) fn with<T>(&self, ask: impl FnOnce(&Table) -> T) -> T {
        ask(&self.lock())
    }

    /// VMs whose fencing deadline is not after `now_ms` and that were not stopped for it.
    pub(super) fn overdue(&self, now_ms: u64) -> Vec<String> {
        let table = self.lock();
        let fenced = table
            .deadlines()
            .filter(|(_, deadline)| *deadline <= now_ms);
        fenced.map(|(uid, _)| uid.to_owned()).collect()
    }

    /// The first fencing deadline of a VM that has not ended.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        self.lock().deadlines().map(|(_, deadline)| deadline).min()
    }

    /// Resolves at the next change of a deadline after this call.
    pub(super) fn deadlines_moved(&self) -> impl Future<Output = ()> {
        let mut moved = Box::pin(self.deadlines_moved.notified());
        moved.as_mut().enable();
        moved
    }

    fn room(&self, table: &Table) -> Result<(), Problem> {
        let full = |what: &str, max: usize| Problem {
            reason: Reason::Exhausted,
            message: format!("this cell holds {max} {what} VMs, the most it can: try again later"),
        };
        if table.live() >= self.max_live {
            return Err(full("live", self.max_live));
        }
        let max_known = self.max_live.saturating_mul(4);
        if table.entries.len() >= max_known {
            return Err(full("ended", max_known));
        }
        Ok(())
    }

    fn publish(&self, table: &Table) {
        self.version_tx.send_replace(table.version);
        self.deadlines_moved.notify_waiters();
    }

    /// Wakes who waits for the table to be empty; no list names what is gone.
    fn publish_removal(&self, table: &mut Table) {
        table.version += 1;
        self.publish(table);
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
