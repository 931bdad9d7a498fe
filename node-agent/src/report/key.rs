//! What tells one report from another, and what is new in the later one.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use agentvm_crds::agentvm::{AgentVMStatus, EffectiveStatus, Phase};
use agentvm_crds::conditions::{AcceptedReason, ConditionType};
use agentvm_policy::LimitField;

/// What tells one report from another.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The assignment it speaks of.
    pub epoch: u64,
    /// The generation it speaks of.
    pub generation: i64,
    pub(super) phase: Phase,
    pub(super) reason: Cow<'static, str>,
    pub(super) restarts: u32,
    pub(super) started_unix_s: Option<i64>,
    pub(super) finished_unix_s: Option<i64>,
    /// What the VM may do, which changes with policies, too.
    pub(super) effective: Option<Arc<EffectiveStatus>>,
    pub(super) storage_pressure: bool,
    pub(super) limits_pressure: BTreeSet<LimitField>,
}

/// What is new in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its phase, or what is said about it.
    Phase,
    /// The VM's files can't grow any more.
    StoragePressure,
    /// They can again.
    NoStoragePressure,
    /// One more of the VM's limits presses.
    LimitsPressure,
    /// None does any more.
    NoLimitsPressure,
}

impl Key {
    /// The key of a status as it stands.
    pub fn of(epoch: u64, status: &AgentVMStatus) -> Self {
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let finished = status
            .exit
            .as_ref()
            .and_then(|exit| exit.finished_at.as_ref());
        Self {
            epoch,
            generation: status.observed_generation.unwrap_or_default(),
            phase: status.phase.unwrap_or(Phase::Starting),
            reason: Cow::Owned(ready.map(|ready| ready.reason.clone()).unwrap_or_default()),
            restarts: status
                .restarts
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or_default(),
            started_unix_s: status.started_at.as_ref().map(|time| time.0.as_second()),
            finished_unix_s: finished.map(|time| time.0.as_second()),
            effective: status.effective.clone().map(Arc::new),
            storage_pressure: status.conditions.iter().any(|condition| {
                condition.type_ == ConditionType::StoragePressure.as_str()
                    && condition.status == "True"
            }),
            limits_pressure: super::pressing::told(&status.conditions),
        }
    }

    /// What is new after `before`. Nothing where only what it may do has changed: whoever changed
    /// that knows, and the status says it.
    pub(super) fn news(&self, before: Option<&Self>) -> Vec<News> {
        let is_same_phase = before.is_some_and(|before| self.has_phase_of(before));
        let had_storage = before.is_some_and(|before| before.storage_pressure);
        let none = BTreeSet::new();
        let had = before.map_or(&none, |before| &before.limits_pressure);
        let mut news = Vec::new();
        if !is_same_phase {
            news.push(News::Phase);
        }
        if self.storage_pressure && !had_storage {
            news.push(News::StoragePressure);
        }
        if !self.limits_pressure.is_subset(had) {
            news.push(News::LimitsPressure);
        }
        // What is over with the run needs no word of its own.
        if is_same_phase && had_storage && !self.storage_pressure {
            news.push(News::NoStoragePressure);
        }
        if is_same_phase && !had.is_empty() && self.limits_pressure.is_empty() {
            news.push(News::NoLimitsPressure);
        }
        news
    }

    fn has_phase_of(&self, before: &Self) -> bool {
        let Self {
            epoch,
            generation,
            phase,
            reason,
            restarts,
            started_unix_s,
            finished_unix_s,
            effective: _,
            storage_pressure: _,
            limits_pressure: _,
        } = self;
        (*epoch, *generation, *phase, reason)
            == (
                before.epoch,
                before.generation,
                before.phase,
                &before.reason,
            )
            && (*restarts, *started_unix_s, *finished_unix_s)
                == (
                    before.restarts,
                    before.started_unix_s,
                    before.finished_unix_s,
                )
    }

    /// True where it says that the guest runs.
    pub fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// True where it says that no run follows, whatever changes. A refusal by policy ends with
    /// the policy.
    pub fn is_final(&self) -> bool {
        self.phase.is_final() && self.reason != AcceptedReason::PolicyRefused.as_str()
    }

    /// Its phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Its reason: of the end or of the problem, else the phase's name.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
