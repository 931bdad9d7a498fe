//! What cells say of their VMs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agentvm_cell_api::cell::{End, Usage, VmState, VmStatus};
use agentvm_cell_api::warden::EndedCell;
use agentvm_policy::EndReason;

use super::settle::ran;
use super::{
    CellState, Ended, Lack, LimitsPressure, LiveFiles, Notice, Observed, Pressure, ReadyModule,
    Record, Run, Unsettled,
};
use crate::backoff::Backoff;
use crate::clock::Moment;
use crate::desired::{Desired, Uid, Want};

/// The grace of a VM whose object the agent never saw.
const GRACE_OF_UNKNOWN: std::time::Duration = agentvm_crds::DEFAULT_GRACE;

impl Observed {
    /// Takes in what the outside says. `unix_ms` is when, for the record of a lost VM.
    pub fn noticed(&mut self, notice: Notice, desired: &Desired, now: Moment, unix_ms: u64) {
        match notice {
            Notice::Surveyed { ended } => {
                self.surveyed = true;
                let by_namespace = ended.into_iter().map(|cell| (cell.namespace.clone(), cell));
                self.ended_before.extend(by_namespace);
                self.lose_what_no_cell_has(desired, now, unix_ms);
            }
            Notice::CellUp {
                namespace,
                instance,
                started_unix_ms,
                vms,
            } => {
                if !self.surveyed {
                    self.found.insert(namespace.clone(), started_unix_ms);
                }
                let end = lost("the cell that it ran in ended", None, unix_ms);
                self.lose_other_instances(&namespace, Some(&instance), &end, desired, now);
                let up = CellState::Up {
                    instance: instance.clone(),
                    idle_since: None,
                };
                self.cells.insert(namespace.clone(), up);
                self.changed(&namespace, &instance, vms, desired, now);
            }
            Notice::CellChanged {
                namespace,
                instance,
                vms,
            } => {
                if self.is_current(&namespace, &instance) {
                    self.changed(&namespace, &instance, vms, desired, now);
                }
            }
            Notice::CellGone {
                namespace,
                instance,
                ended,
            } => {
                if self.is_current(&namespace, &instance) {
                    self.cells.remove(&namespace);
                    self.try_cells_again(now);
                    self.found.remove(&namespace);
                    let end = lost("the cell that it ran in ended", ended.as_ref(), unix_ms);
                    self.lose_other_instances(&namespace, None, &end, desired, now);
                }
            }
            Notice::GatewayUp { instance, vms } => self.gateway_up(instance, &vms),
            Notice::GatewayAway => self.gateway_away(),
            Notice::NetworkUsed { instance, vms } => self.network_used(&instance, vms, now),
            Notice::Denied(denials) => self.denied(denials, now),
        }
    }

    /// True where `instance` is the process that the agent knows as the namespace's cell.
    fn is_current(&self, namespace: &str, instance: &str) -> bool {
        match self.cells.get(namespace) {
            Some(
                CellState::Up {
                    instance: known, ..
                }
                | CellState::Stopping { instance: known },
            ) => known == instance,
            Some(CellState::Starting { .. } | CellState::Waiting { .. }) | None => false,
        }
    }

    /// There is room for a cell again: those for which there was none are tried at once.
    fn try_cells_again(&mut self, now: Moment) {
        for cell in self.cells.values_mut() {
            if let CellState::Waiting {
                until,
                lack: Lack::Room,
                ..
            } = cell
            {
                *until = now;
            }
        }
    }

    /// The namespaces whose cells are in use: a cell that no VM needs makes room for another.
    pub fn cells_in_use(&self) -> impl Iterator<Item = &str> {
        let needing = needing_cells(&self.vms);
        let used = self
            .cells
            .iter()
            .filter(move |(namespace, cell)| match cell {
                CellState::Starting { .. } | CellState::Stopping { .. } => true,
                CellState::Up { .. } => needing.contains(namespace.as_str()),
                CellState::Waiting { .. } => false,
            });
        used.map(|(namespace, _)| namespace.as_str())
    }

    /// Notes since when a cell is not needed.
    pub(super) fn note_idle_cells(&mut self, now: Moment) {
        let needed = needing_cells(&self.vms);
        for (namespace, cell) in &mut self.cells {
            if let CellState::Up { idle_since, .. } = cell {
                *idle_since = if needed.contains(namespace.as_str()) {
                    None
                } else {
                    idle_since.or(Some(now))
                };
            }
        }
    }

    fn changed(
        &mut self,
        namespace: &str,
        instance: &str,
        vms: Vec<VmStatus>,
        desired: &Desired,
        now: Moment,
    ) {
        for status in vms {
            let uid = status.uid.clone();
            let want = desired.vms.get(&uid).map(Arc::as_ref);
            let record = self.vms.entry(uid.clone()).or_insert_with(|| {
                Record::new(
                    namespace,
                    &status.spec.name,
                    status.spec.epoch,
                    GRACE_OF_UNKNOWN,
                )
            });
            record.see(instance, status, want, now);
            record.pass_end(&uid, &mut self.ends);
        }
    }

    /// Every run of the namespace that another process than `instance` held ended with it.
    fn lose_other_instances(
        &mut self,
        namespace: &str,
        instance: Option<&str>,
        end: &End,
        desired: &Desired,
        now: Moment,
    ) {
        for (uid, record) in &mut self.vms {
            if record.namespace == namespace {
                let want = desired.vms.get(uid).map(Arc::as_ref);
                record.lose_other_instance(instance, end, want, now);
                record.pass_end(uid, &mut self.ends);
            }
        }
    }

    /// A VM that the API server was told is running, and that no cell has, ended unseen.
    fn lose_what_no_cell_has(&mut self, desired: &Desired, now: Moment, unix_ms: u64) {
        for (uid, record) in &mut self.vms {
            if let Some(want) = desired.vms.get(uid) {
                let cells = CellsBefore {
                    runs_since: self.found.get(&record.namespace).copied(),
                    ended: self.ended_before.get(&record.namespace),
                };
                record.lose_if_told_running(want, cells, now, unix_ms);
            }
        }
    }
}

/// The namespaces with VMs that need a cell.
pub(crate) fn needing_cells(vms: &BTreeMap<Uid, Record>) -> BTreeSet<&str> {
    let needing = vms.values().filter(|record| record.needs_cell());
    needing.map(|record| record.namespace.as_str()).collect()
}

/// What is known of a namespace's cells before the agent started.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellsBefore<'a> {
    /// Since when the one runs that it found, Unix milliseconds.
    pub(super) runs_since: Option<u64>,
    /// The last one that ended, where the warden knows.
    pub(super) ended: Option<&'a EndedCell>,
}

impl Record {
    /// Takes in what a cell says of this VM.
    pub(super) fn see(
        &mut self,
        instance: &str,
        status: VmStatus,
        want: Option<&Want>,
        now: Moment,
    ) {
        if self.is_old_news(&status) {
            return;
        }
        self.epoch = status.spec.epoch;
        self.next_attempt = status.spec.attempt.saturating_add(1);
        self.started_unix_ms = status.started_unix_ms;
        self.module = Some(ReadyModule {
            sha256: status.spec.module.clone(),
            kind: status.spec.kind,
        });
        if status.state == VmState::Ended {
            self.see_end(instance, status, want, now);
        } else {
            self.see_live(instance, status, want, now);
        }
    }

    /// Hands a run that just ended to the ledger.
    pub(super) fn pass_end(&mut self, uid: &Uid, ends: &mut Vec<Ended>) {
        ends.extend(self.last_end.take().map(|end| Ended {
            uid: uid.clone(),
            end,
        }));
    }

    /// True where newer news was heard already: lists repeat themselves, and the answer to a
    /// request may be read after a list that is younger.
    fn is_old_news(&self, status: &VmStatus) -> bool {
        let seen = (status.spec.epoch, status.spec.attempt.saturating_add(1));
        if seen <= self.past {
            return true;
        }
        match &self.run {
            Run::Live { version, .. } => {
                let known = (self.epoch, self.next_attempt);
                seen < known || (seen == known && status.version < *version)
            }
            Run::Ended { .. } | Run::None => false,
        }
    }

    fn see_live(&mut self, instance: &str, status: VmStatus, want: Option<&Want>, now: Moment) {
        let (since, from, stopping) = match &self.run {
            Run::Live {
                since,
                from,
                stopping,
                ..
            } => (*since, from.clone(), *stopping),
            Run::Ended { .. } | Run::None => {
                self.count_start();
                self.files = LiveFiles::default();
                self.pressure = Pressure::default();
                self.limits_pressure = LimitsPressure::default();
                (
                    now,
                    self.starting.take().or_else(|| self.adopted_from(want)),
                    None,
                )
            }
        };
        self.problem = None;
        let before = match &self.run {
            Run::Live { spec, .. } => spec.mounts.as_slice(),
            Run::Ended { .. } | Run::None => &[],
        };
        self.files.has(&status.spec.mounts, before);
        self.pressure.see(status.storage_pressure, now);
        self.limits_pressure.see(&status.limits_pressure, now);
        self.run = Run::Live {
            instance: instance.to_owned(),
            spec: Arc::new(status.spec),
            state: status.state,
            version: status.version,
            since,
            from,
            stopping,
        };
    }

    fn see_end(&mut self, instance: &str, status: VmStatus, want: Option<&Want>, now: Moment) {
        let cause = match &self.run {
            Run::Live { stopping, .. } => *stopping,
            Run::Ended { .. } | Run::None => {
                self.count_start();
                None
            }
        };
        self.starting = None;
        self.problem = None;
        let end = status
            .end
            .unwrap_or_else(|| lost("the cell did not say how it ended", None, 0));
        let ran = ran(status.started_unix_ms, &end);
        self.end(
            Some(instance.to_owned()),
            Unsettled { end, ran, cause },
            want,
            now,
        );
    }

    /// A run was seen for the first time.
    fn count_start(&mut self) {
        if std::mem::take(&mut self.next_counts) {
            self.restarts = self.restarts.saturating_add(1);
        }
        self.not_before = None;
    }

    fn lose_other_instance(
        &mut self,
        instance: Option<&str>,
        end: &End,
        want: Option<&Want>,
        now: Moment,
    ) {
        match &self.run {
            Run::Live {
                instance: held,
                stopping,
                since,
                ..
            } if Some(held.as_str()) != instance => {
                let ended = Unsettled {
                    end: end.clone(),
                    ran: now.saturating_sub(*since),
                    cause: *stopping,
                };
                self.end(None, ended, want, now);
            }
            Run::Ended {
                held: Some(held), ..
            } if Some(held.as_str()) != instance => self.released(),
            Run::Live { .. } | Run::Ended { .. } | Run::None => {}
        }
    }

    /// The API server was told that it runs, and no cell has it.
    pub(super) fn lose_if_told_running(
        &mut self,
        want: &Want,
        cells: CellsBefore<'_>,
        now: Moment,
        unix_ms: u64,
    ) {
        let told_running = self
            .told
            .key
            .as_ref()
            .is_some_and(crate::report::Key::is_running);
        if told_running
            && self.run == Run::None
            && !self.finished
            && self.next_attempt == 0
            && self.busy.is_none()
        {
            // The attempt is over, so that this is not decided twice.
            self.next_attempt = 1;
            let started = self.started_unix_ms.unwrap_or_default();
            // Its cell has not ended. An agent had it forget the run, and died before the next one.
            if cells.runs_since.is_some_and(|since| since <= started) {
                return;
            }
            // One that had ended before this run began was not its own.
            let own = cells.ended.filter(|cell| cell.finished_unix_ms >= started);
            let message = "the cell that it ran in ended while no agent was watching";
            let end = lost(message, own, unix_ms);
            self.crashes = Backoff::after(self.restarts);
            let ended = Unsettled {
                end,
                ran: std::time::Duration::ZERO,
                cause: None,
            };
            self.end(None, ended, Some(want), now);
        }
    }
}

/// The end of a run whose cell went away, in the warden's words where it knows why.
fn lost(message: &str, cell: Option<&EndedCell>, unix_ms: u64) -> End {
    End {
        reason: EndReason::Evicted,
        exit_code: None,
        message: cell.map_or_else(
            || message.to_owned(),
            |cell| format!("{message}: {}", cell.message),
        ),
        finished_unix_ms: cell.map_or(unix_ms, |cell| cell.finished_unix_ms),
        usage: Usage::default(),
    }
}
