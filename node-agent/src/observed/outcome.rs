//! What becomes of actions: on their way, done, or to be tried again.

use agentvm_cell_api::cell::VmStatus;

use super::{
    CellState, Fetch, Gone, Lack, Observed, Outcome, ReadyModule, Record, Retry, Run, StartFailure,
    Told, Verb,
};
use crate::backoff::{Backoff, CALL, FETCH, Schedule};
use crate::border::Warning;
use crate::clock::Moment;
use crate::desired::{Desired, Uid, Want};
use crate::plan::Action;
use crate::problem::{Problem, StartReason};
use crate::source::Source;

impl Observed {
    /// An action is on its way.
    pub fn began(&mut self, action: &Action) {
        match action {
            Action::EnsureModule { source, .. } => {
                let history = match self.fetches.get(source) {
                    Some(Fetch::Waiting { history, .. } | Fetch::Busy { history }) => *history,
                    None => Backoff::default(),
                };
                self.fetches.insert(source.clone(), Fetch::Busy { history });
            }
            Action::EnsureCell { namespace } => {
                let history = match self.cells.get(namespace) {
                    Some(CellState::Waiting { history, .. } | CellState::Starting { history }) => {
                        *history
                    }
                    Some(CellState::Up { .. } | CellState::Stopping { .. }) | None => {
                        Backoff::default()
                    }
                };
                self.cells
                    .insert(namespace.clone(), CellState::Starting { history });
            }
            Action::StopCell { namespace } => {
                if let Some(CellState::Up { instance, .. }) = self.cells.get(namespace) {
                    let instance = instance.clone();
                    self.cells
                        .insert(namespace.clone(), CellState::Stopping { instance });
                }
            }
            Action::StartVm(start) => self.with(&start.want.uid, |record| {
                record.busy = Some(Verb::Start);
                record.starting = Some(start.want.spec.clone());
            }),
            Action::UpdateLive { uid, .. } => {
                self.with(uid, |record| record.busy = Some(Verb::Update));
            }
            Action::StopVm { uid, cause, .. } => self.with(uid, |record| {
                record.busy = Some(Verb::Stop(*cause));
                if let Run::Live { stopping, .. } = &mut record.run {
                    *stopping = Some(*cause);
                }
            }),
            Action::ForgetVm { uid, .. } => {
                self.with(uid, |record| record.busy = Some(Verb::Forget));
            }
            Action::ConfirmGone { uid, .. } => {
                self.with(uid, |record| record.busy = Some(Verb::Confirm));
            }
            Action::ReadContent { object } => {
                self.readings.entry(object.clone()).or_default().busy = true;
            }
            Action::Warn { want, warning } => self.with(&want.uid, |record| match warning {
                Warning::FilesNotUpdated(message) => record.files.warned = Some(message.clone()),
                Warning::KeysNotUpdated(message) => record.network.warned = Some(message.clone()),
                Warning::EgressDenied(told) => {
                    record.network.denials.pending.retain(|one| one != told);
                }
            }),
            Action::PutRules(put) => {
                self.with(&put.want.uid, |record| record.network.busy = true);
            }
            Action::DropRules { uid, .. } => {
                self.with(uid, |record| record.network.busy = true);
                if let Some(gateway) = &mut self.gateway {
                    gateway.strays.remove(uid);
                }
            }
            Action::ReportStatus { want, .. } => {
                self.with(&want.uid, |record| record.told.busy = true);
            }
            Action::DropRecord { uid } => {
                self.vms.remove(uid);
            }
            Action::RenewRecord { uid, epoch } => self.with(uid, |record| record.renew(*epoch)),
        }
    }

    /// An action has come to its end.
    pub fn finished(&mut self, outcome: Outcome, desired: &Desired, now: Moment) {
        match outcome {
            Outcome::Module { source, result } => self.fetched(&source, result, desired, now),
            Outcome::CellFailed {
                namespace,
                message,
                lack,
            } => self.cell_failed(namespace, message, lack, now),
            Outcome::CellNotStopped { namespace } => {
                if let Some(CellState::Stopping { instance }) = self.cells.get(&namespace) {
                    let instance = instance.clone();
                    self.cells.insert(
                        namespace,
                        CellState::Up {
                            instance,
                            idle_since: Some(now),
                        },
                    );
                }
            }
            Outcome::RulesGiven { uid, result } => self.rules_given(&uid, result, now),
            Outcome::RulesTaken { uid, result } => self.rules_taken(&uid, result, now),
            Outcome::Started { uid, result } => self.started(&uid, result, desired, now),
            Outcome::Updated { uid, result } => {
                self.called(&uid, result.map(Some), Release::No, desired, now);
            }
            Outcome::Content { object, result } => {
                self.content_read(object, result, desired, now);
            }
            Outcome::Deleted { uid, result } => {
                let release = if matches!(result, Ok(None)) {
                    Release::Yes
                } else {
                    Release::No
                };
                self.called(&uid, result, release, desired, now);
            }
            Outcome::Confirmed { uid, result } => {
                self.with(&uid, |record| record.confirmed(result.ok(), now));
            }
            Outcome::Reported { uid, key, result } => self.with(&uid, |record| {
                record.told = if result.is_ok() {
                    Told {
                        key: Some(key),
                        ..Told::default()
                    }
                } else {
                    let retry = Some(next_retry(record.told.retry, CALL, now));
                    Told {
                        busy: false,
                        retry,
                        key: record.told.key.take(),
                    }
                };
            }),
        }
    }

    fn with(&mut self, uid: &Uid, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.vms.get_mut(uid) {
            change(record);
        }
    }

    fn fetched(
        &mut self,
        source: &Source,
        result: Result<ReadyModule, Problem>,
        desired: &Desired,
        now: Moment,
    ) {
        let history = match self.fetches.remove(source) {
            Some(Fetch::Busy { history } | Fetch::Waiting { history, .. }) => history.failed(),
            None => Backoff::after(1),
        };
        let mut waiters = 0_usize;
        for (uid, want) in &desired.vms {
            if let Some(record) = self.vms.get_mut(uid)
                && record.waits_for(source, want)
            {
                waiters += 1;
                record.fetched(&result);
            }
        }
        if let Err(problem) = result
            && !problem.reason.is_final()
            && waiters > 0
        {
            let until = now.saturating_add(history.delay(FETCH));
            self.fetches.insert(
                source.clone(),
                Fetch::Waiting {
                    until,
                    history,
                    problem,
                },
            );
        }
    }

    /// Forgets failed fetches that nobody waits for any more, and notes which cells idle.
    pub fn tidy(&mut self, desired: &Desired, now: Moment) {
        self.note_idle_cells(now);
        self.tidy_readings(desired);
        let vms = &self.vms;
        self.fetches.retain(|source, fetch| {
            let busy = matches!(fetch, Fetch::Busy { .. });
            busy || desired
                .vms
                .iter()
                .any(|(uid, want)| vms.get(uid).is_some_and(|r| r.waits_for(source, want)))
        });
    }

    fn cell_failed(&mut self, namespace: String, message: String, lack: Lack, now: Moment) {
        let history = match self.cells.get(&namespace) {
            Some(CellState::Starting { history } | CellState::Waiting { history, .. }) => {
                history.failed()
            }
            Some(CellState::Up { .. } | CellState::Stopping { .. }) => return,
            None => Backoff::after(1),
        };
        let until = now.saturating_add(history.delay(CALL));
        self.cells.insert(
            namespace,
            CellState::Waiting {
                until,
                history,
                message,
                lack,
            },
        );
    }

    fn started(
        &mut self,
        uid: &Uid,
        result: Result<VmStatus, StartFailure>,
        desired: &Desired,
        now: Moment,
    ) {
        match result {
            Ok(status) => self.called(uid, Ok(Some(status)), Release::No, desired, now),
            Err(failure) => self.with(uid, |record| record.not_started(failure, now)),
        }
    }

    /// A cell was asked something about one VM.
    fn called(
        &mut self,
        uid: &Uid,
        result: Result<Option<VmStatus>, String>,
        release: Release,
        desired: &Desired,
        now: Moment,
    ) {
        let want = desired.vms.get(uid).map(AsRef::as_ref);
        let Some(record) = self.vms.get_mut(uid) else {
            return;
        };
        let verb = record.busy.take();
        let instance = match self.cells.get(&record.namespace) {
            Some(CellState::Up { instance, .. } | CellState::Stopping { instance }) => {
                instance.clone()
            }
            Some(CellState::Starting { .. } | CellState::Waiting { .. }) | None => String::new(),
        };
        match result {
            // A stop must not wait for an update that fails.
            Err(message) if verb == Some(Verb::Update) => record.not_updated(message, now),
            Err(_) => record.retry = Some(next_retry(record.retry, CALL, now)),
            Ok(status) => {
                record.retry = None;
                if verb == Some(Verb::Update) {
                    record.files.updated();
                }
                if let Some(status) = status {
                    record.see(&instance, status, want, now);
                    record.pass_end(uid, &mut self.ends);
                }
            }
        }
        if release == Release::Yes || (verb == Some(Verb::Forget) && record.retry.is_none()) {
            record.released();
        }
    }
}

/// Whether the cell said that it has nothing of the VM left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Release {
    Yes,
    No,
}

impl Record {
    /// True where it can't go on before `source` is fetched.
    fn waits_for(&self, source: &Source, want: &Want) -> bool {
        let Some(own) = &want.source else {
            return false;
        };
        match &self.module {
            None => own == source && self.run == Run::None && !self.finished,
            Some(module) => self.module_lost && own.pinned(module) == *source,
        }
    }

    fn fetched(&mut self, result: &Result<ReadyModule, Problem>) {
        match result {
            Ok(module) => {
                self.module = Some(module.clone());
                self.module_lost = false;
                self.problem = None;
                self.retry = None;
            }
            Err(problem) => self.hindered(problem.clone()),
        }
    }

    pub(super) fn hindered(&mut self, problem: Problem) {
        self.finished = self.finished || problem.reason.is_final();
        self.problem = Some(problem);
    }

    fn not_started(&mut self, failure: StartFailure, now: Moment) {
        self.busy = None;
        // The answer was lost on the way, but the cell has listed the run already.
        if self.is_live() {
            return;
        }
        self.starting = None;
        self.network.stale = self.network.held.is_some();
        match failure {
            StartFailure::ModuleLost => self.module_lost = true,
            StartFailure::Problem(problem) => {
                let schedule = match problem.reason {
                    StartReason::Image(_) | StartReason::InvalidSpec => FETCH,
                    StartReason::Host => CALL,
                };
                self.retry = Some(next_retry(self.retry, schedule, now));
                self.hindered(problem);
            }
        }
    }

    fn not_updated(&mut self, message: String, now: Moment) {
        let files = &mut self.files;
        let schedule = if files.is_current() { CALL } else { FETCH };
        files.retry = Some(next_retry(files.retry, schedule, now));
        if !files.is_current() {
            files.problem = Some(message);
        }
    }

    fn confirmed(&mut self, answer: Option<Gone>, now: Moment) {
        self.busy = None;
        match answer {
            Some(gone @ (Gone::Deleted | Gone::Moved)) => {
                self.gone = Some(gone);
                self.retry = None;
            }
            // The watch brings it back; until then, ask again, but less and less often.
            Some(Gone::StillHere) | None => self.retry = Some(next_retry(self.retry, CALL, now)),
        }
    }

    fn renew(&mut self, epoch: u64) {
        let fresh = Self::new(&self.namespace, &self.name, epoch, self.grace);
        let old = std::mem::replace(self, fresh);
        self.restarts = old.restarts;
        self.past = old.past;
        self.network = old.network;
    }
}

pub(super) fn next_retry(last: Option<Retry>, schedule: Schedule, now: Moment) -> Retry {
    let history = last
        .map_or_else(Backoff::default, |retry| retry.history)
        .failed();
    Retry {
        until: now.saturating_add(history.delay(schedule)),
        history,
    }
}
