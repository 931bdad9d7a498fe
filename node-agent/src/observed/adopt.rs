//! What is known of a VM before this agent has done anything to it.

use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{End, Usage};
use agentvm_cell_api::warden::ModuleKind;
use agentvm_crds::agentvm::{AgentVMSpec, AgentVMStatus, ExitStatus, Phase};
use agentvm_crds::conditions::ImageReason;
use agentvm_policy::EndReason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::cells::CellsBefore;
use super::{Observed, ReadyModule, Record, Run, Told};
use crate::backoff::{Backoff, RESTART};
use crate::clock::Moment;
use crate::desired::{Ruling, Want};
use crate::egress;
use crate::problem::{Problem, StartReason};
use crate::report::Key;

/// A status keeps whole seconds of times.
const SECOND_MS: u64 = 1_000;

impl Observed {
    /// An object is assigned to this node, or changed. `status` is what it says of itself: it is
    /// believed on what was already told, and only where nothing better is known.
    pub fn wanted(&mut self, want: &Want, status: &AgentVMStatus, now: Moment, unix_ms: u64) {
        let surveyed = self.surveyed;
        let record = self
            .vms
            .entry(want.uid.clone())
            .or_insert_with(|| Record::new(&want.namespace, &want.name, want.epoch, want.grace));
        record.grace = want.grace;
        record.gone = None;
        record.refused_since = match want.ruling {
            Ruling::Refused(_) => record.refused_since.or(Some(now)),
            Ruling::Unknown(_) | Ruling::Invalid(_) | Ruling::Granted(_) => None,
        };
        if record.told.key.is_none() && record.epoch == want.epoch {
            record.remember(want, status, now, unix_ms);
        }
        record.settle(want, now);
        record.adopt_run(want);
        if surveyed {
            let cells = CellsBefore {
                runs_since: self.found.get(&want.namespace).copied(),
                ended: self.ended_before.get(&want.namespace),
            };
            record.lose_if_told_running(want, cells, now, unix_ms);
        }
    }
}

impl Record {
    /// Takes over what an earlier agent reported.
    fn remember(&mut self, want: &Want, status: &AgentVMStatus, now: Moment, unix_ms: u64) {
        let key = Key::of(want.epoch, status);
        let restarts = status
            .restarts
            .and_then(|restarts| u32::try_from(restarts).ok());
        self.restarts = self.restarts.max(restarts.unwrap_or_default());
        match status.phase {
            Some(Phase::Complete | Phase::Failed) if key.is_final() => {
                self.remember_end(&key, status);
            }
            Some(Phase::BackOff) if !self.is_live() => {
                self.remember_last_run(&key, status);
                self.crashes = Backoff::after(self.restarts.saturating_add(1));
                // An agent that is started again and again must not make it wait for ever.
                let ended = self.exit.as_ref().map(|end| end.finished_unix_ms);
                let waited = ended.map_or(0, |ended| {
                    unix_ms.saturating_sub(ended.saturating_add(SECOND_MS))
                });
                let delay = self.crashes.delay_of(RESTART, &want.uid);
                let left = delay.saturating_sub(Duration::from_millis(waited));
                self.not_before = Some(now.saturating_add(left));
                self.next_counts = true;
            }
            Some(Phase::Running) => {
                self.remember_last_run(&key, status);
                // What it cost is forgotten only after a run that is long enough.
                self.crashes = self.crashes.max(Backoff::after(self.restarts));
            }
            Some(_) | None => {}
        }
        self.told = Told {
            key: Some(key),
            ..Told::default()
        };
    }

    /// Takes over how the run before ended, and when the last one started: both stay in the
    /// status until there is something newer.
    fn remember_last_run(&mut self, key: &Key, status: &AgentVMStatus) {
        let end = status.exit.as_ref().and_then(end);
        let told = end.filter(|end| key.is_running() || key.reason() == end.reason.as_str());
        self.remember_network(status);
        self.exit = self.exit.take().or(told);
        let started = status.started_at.as_ref().and_then(unix_ms);
        self.started_unix_ms = self.started_unix_ms.or(started);
    }

    fn remember_network(&mut self, status: &AgentVMStatus) {
        let told = status.exit.as_ref().and_then(|exit| exit.network.as_ref());
        if let Some(told) = told {
            self.network.last = egress::read_back(told);
        }
    }

    /// Takes over an end, so that what is told of it later is still the same.
    fn remember_end(&mut self, key: &Key, status: &AgentVMStatus) {
        self.finished = true;
        self.started_unix_ms = status.started_at.as_ref().and_then(unix_ms);
        self.exit = status.exit.as_ref().and_then(end);
        self.remember_network(status);
        if self.exit.is_none() {
            self.problem = problem(key, status);
        }
        let digest = status
            .module_digest
            .as_deref()
            .and_then(|digest| digest.strip_prefix("sha256:"));
        // It never runs again, so its kind does not matter.
        self.module = digest.map(|sha256| ReadyModule {
            sha256: sha256.to_owned(),
            kind: ModuleKind::Core,
        });
    }

    /// A run that was seen before its object was.
    fn adopt_run(&mut self, want: &Want) {
        let adopted = self.adopted_from(Some(want));
        if let Run::Live {
            from: from @ None, ..
        } = &mut self.run
        {
            *from = adopted;
        }
    }

    /// What an adopted run follows, where the last report proves it.
    pub(super) fn adopted_from(&self, want: Option<&Want>) -> Option<Arc<AgentVMSpec>> {
        let want = want?;
        let told = self.told.key.as_ref()?;
        (told.is_running() && told.generation == want.generation && told.epoch == self.epoch)
            .then(|| Arc::clone(&want.spec))
    }
}

/// An end as a status keeps it.
fn end(exit: &ExitStatus) -> Option<End> {
    let reason = EndReason::ALL
        .into_iter()
        .find(|reason| reason.as_str() == exit.reason)?;
    let number = |value: Option<i64>| {
        value
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or_default()
    };
    Some(End {
        reason,
        exit_code: exit.code,
        message: exit.message.clone(),
        finished_unix_ms: exit.finished_at.as_ref().and_then(unix_ms)?,
        usage: Usage {
            cpu_ns: number(exit.cpu_millis).saturating_mul(1_000_000),
            memory_peak_bytes: number(exit.memory_peak_bytes),
            ..Usage::default()
        },
    })
}

/// What kept a VM from starting for good, as a status keeps it.
fn problem(key: &Key, status: &AgentVMStatus) -> Option<Problem> {
    let image = ImageReason::ALL
        .iter()
        .find(|reason| reason.as_str() == key.reason());
    let reason = image.map_or(StartReason::InvalidSpec, |reason| {
        StartReason::Image(*reason)
    });
    let failed = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Failed")?;
    Some(Problem::new(reason, &failed.message))
}

fn unix_ms(time: &Time) -> Option<u64> {
    u64::try_from(time.0.as_millisecond()).ok()
}
