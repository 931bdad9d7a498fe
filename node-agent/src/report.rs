//! What is told about a VM, and when there is something new to tell.
//!
//! A report is identified by its [`Key`]. A status is written only when the key changes, so a
//! retry that fails again in the same way, or a plain start, costs no write: a whole life is
//! three writes, of which the agent does two.

mod key;
mod pressing;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use agentvm_crds::agentvm::{AgentVMStatus, EffectiveStatus, ExitStatus, Phase};
use agentvm_crds::conditions::{
    AcceptedReason, AgentView, At, Cause, Pressing, pressing_sentence, sentence,
};
use agentvm_policy::{EndReason, Limits};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use agentvm_cell_api::cell::{End, Usage, VmState};

pub use self::key::{Key, News};
use crate::clock::Moment;
use crate::desired::{Ruling, Want};
use crate::egress;
use crate::observed::{Record, Run, Verb};
use crate::stop::must_stop;

/// A refusal is told only after this long: policies and VMs that are created together arrive
/// in any order.
const REFUSAL_SETTLES: Duration = Duration::from_secs(2);

/// Everything that one status write says.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What tells it from others.
    pub key: Key,
    /// What is new in it.
    pub news: Vec<News>,
    phase: Told,
    /// The limits that press.
    pressing: Vec<Pressing>,
    /// `status.releasedEpoch`.
    pub released_epoch: Option<i64>,
    /// `status.moduleDigest`.
    pub module_digest: Option<String>,
    /// `status.restarts`.
    pub restarts: i32,
    /// `status.startedAt`.
    pub started_at: Option<Time>,
    /// `status.exit`.
    pub exit: Option<ExitStatus>,
}

/// A phase with what is said about it.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Running,
    Suspended,
    BackOff(Cause, String),
    Released(String),
    Complete(String),
    Failed(Cause, String),
}

/// When a report becomes due that is not due yet.
pub fn due(want: &Want, record: &Record) -> Option<Moment> {
    let refused =
        matches!(want.ruling, Ruling::Refused(_)) && !record.is_live() && !record.finished;
    record
        .refused_since
        .filter(|_| refused)
        .map(|since| since.saturating_add(REFUSAL_SETTLES))
}

/// The key of the report that `record` deserves; `None` where there is nothing to tell.
pub fn key(want: &Want, record: &Record, now: Moment) -> Option<Key> {
    told(want, record, now).map(|told| key_of(want, record, &told, now))
}

/// The report that belongs to `key`. Call it with what [`key`] was called with.
pub fn report(want: &Want, record: &Record, now: Moment) -> Option<Report> {
    let told = told(want, record, now)?;
    let module = record.module.as_ref();
    let key = key_of(want, record, &told, now);
    let limits = match &record.run {
        Run::Live { spec, .. } => spec.grants.limits,
        Run::Ended { .. } | Run::None => Limits::default(),
    };
    Some(Report {
        pressing: pressing::pressing(&key.limits_pressure, &limits, record.network.sent()),
        news: key.news(record.told.key.as_ref()),
        key,
        released_epoch: match told {
            Told::Released(_) => i64::try_from(record.epoch).ok(),
            Told::Running
            | Told::Suspended
            | Told::BackOff(..)
            | Told::Complete(_)
            | Told::Failed(..) => None,
        },
        phase: told,
        module_digest: module.map(|module| format!("sha256:{}", module.sha256)),
        restarts: i32::try_from(record.restarts).unwrap_or(i32::MAX),
        started_at: record.started_unix_ms.and_then(time),
        exit: record.exit.as_ref().map(|end| ExitStatus {
            network: egress::told(&record.network.last),
            ..exit(end)
        }),
    })
}

fn told(want: &Want, record: &Record, now: Moment) -> Option<Told> {
    // What it used of the network is told with its end, and asked for now.
    if record.network.is_leaving() {
        return None;
    }
    if record.finished {
        return Some(finished(record));
    }
    match &record.run {
        Run::Live {
            state: VmState::Running,
            stopping: None,
            spec,
            from,
            ..
        } => (may_be_told(want, record) && must_stop(want, spec, from.as_deref()).is_none())
            .then_some(Told::Running),
        // On the way to something else, which is told when it is reached.
        Run::Live { .. }
        | Run::Ended {
            unsettled: Some(_), ..
        } => None,
        Run::Ended {
            unsettled: None, ..
        }
        | Run::None => idle(want, record, now),
    }
}

/// While the rules are not known, it is not known either whether a run follows a new generation:
/// to say so would prove it to the next agent, and what the VM may do would be left out.
fn may_be_told(want: &Want, record: &Record) -> bool {
    let unknown = matches!(want.ruling, Ruling::Unknown(_));
    let told = record.told.key.as_ref();
    !unknown || told.is_some_and(|told| told.generation == want.generation)
}

fn finished(record: &Record) -> Told {
    match (&record.problem, &record.exit) {
        (Some(problem), _) => Told::Failed(problem.reason.cause(), problem.message.clone()),
        (None, Some(end)) if end.reason == EndReason::Completed => {
            Told::Complete(sentence(&end.message))
        }
        (None, Some(end)) => Told::Failed(end.reason.into(), sentence(&end.message)),
        (None, None) => Told::Failed(
            EndReason::HostError.into(),
            "its end was not recorded".to_owned(),
        ),
    }
}

fn idle(want: &Want, record: &Record, now: Moment) -> Option<Told> {
    if want.spec.suspend {
        return Some(Told::Suspended);
    }
    match &want.ruling {
        Ruling::Invalid(message) => {
            return Some(Told::Failed(
                AcceptedReason::InvalidSpec.into(),
                sentence(message),
            ));
        }
        Ruling::Refused(verdict) => {
            let message = verdict
                .refused
                .iter()
                .map(|refusal| refusal.message.as_str())
                .collect::<Vec<_>>()
                .join("; ");
            return (due(want, record)? <= now)
                .then(|| Told::Failed(AcceptedReason::PolicyRefused.into(), sentence(&message)));
        }
        Ruling::Unknown(_) | Ruling::Granted(_) => {}
    }
    if let Some(why) = &want.evict
        && record.busy != Some(Verb::Start)
    {
        return Some(Told::Released(sentence(why)));
    }
    if let Some(problem) = &record.problem {
        return Some(Told::BackOff(
            problem.reason.cause(),
            problem.message.clone(),
        ));
    }
    let end = record.exit.as_ref().filter(|_| record.next_counts)?;
    Some(Told::BackOff(end.reason.into(), sentence(&end.message)))
}

fn key_of(want: &Want, record: &Record, told: &Told, now: Moment) -> Key {
    Key {
        epoch: record.epoch,
        generation: want.generation,
        phase: told.view().phase(),
        reason: Cow::Borrowed(told.reason()),
        restarts: record.restarts,
        started_unix_s: record
            .started_unix_ms
            .and_then(time)
            .map(|time| time.0.as_second()),
        finished_unix_s: record
            .exit
            .as_ref()
            .and_then(|end| time(end.finished_unix_ms))
            .map(|time| time.0.as_second()),
        effective: effective(want, record),
        storage_pressure: matches!(told, Told::Running) && record.pressure.is_told(now),
        limits_pressure: match told {
            Told::Running => record.limits_pressure(now),
            Told::Suspended
            | Told::BackOff(..)
            | Told::Released(_)
            | Told::Complete(_)
            | Told::Failed(..) => BTreeSet::new(),
        },
    }
}

/// What the VM may do, or could do when it ended. What was told stays while the rules are not
/// known, as they are not when the agent has just started.
fn effective(want: &Want, record: &Record) -> Option<Arc<EffectiveStatus>> {
    let told = || record.told.key.as_ref()?.effective.clone();
    match &want.ruling {
        Ruling::Unknown(_) => told(),
        Ruling::Invalid(_) => None,
        Ruling::Refused(_) | Ruling::Granted(_) if record.finished => {
            told().or_else(|| want.effective.clone())
        }
        Ruling::Refused(_) | Ruling::Granted(_) => want.effective.clone(),
    }
}

impl Report {
    /// The part of the status that the agent owns, complete for server-side apply.
    pub fn status(&self, previous: &[Condition], now: Timestamp) -> AgentVMStatus {
        let at = At {
            generation: Some(self.key.generation),
            now: &Time(now),
            previous,
        };
        let mut view = agentvm_crds::conditions::agent(&self.phase.view(), &at);
        if self.key.storage_pressure {
            view.conditions
                .push(agentvm_crds::conditions::storage_pressure(&at));
        }
        let limits = agentvm_crds::conditions::limits_pressure(&at, &self.pressing);
        view.conditions.extend(limits);
        AgentVMStatus {
            observed_generation: view.observed_generation,
            phase: view.phase,
            conditions: view.conditions,
            effective: self.key.effective.as_deref().cloned(),
            released_epoch: self.released_epoch,
            module_digest: self.module_digest.clone(),
            restarts: Some(self.restarts),
            started_at: self.started_at.clone(),
            exit: self.exit.clone(),
            ..AgentVMStatus::default()
        }
    }

    /// True where it says how much is used of limits, which the VM's cell knows.
    pub fn asks_for_usage(&self) -> bool {
        self.pressing
            .iter()
            .any(|one| pressing::is_measured(one.field))
    }

    /// The same, with how much the VM uses of the limits that press.
    #[must_use]
    pub fn with_usage(mut self, usage: &Usage) -> Self {
        for one in &mut self.pressing {
            one.used = pressing::used(one.field, usage).or(one.used);
        }
        self
    }

    /// One sentence on something that is new in it, for events.
    pub fn message(&self, news: News) -> Cow<'_, str> {
        match news {
            News::Phase => Cow::Borrowed(self.phase.message()),
            News::StoragePressure => {
                "its node is short of memory: its files can't grow until that is over".into()
            }
            News::NoStoragePressure => "its files can grow again".into(),
            News::LimitsPressure => pressing_sentence(&self.pressing).into(),
            News::NoLimitsPressure => "no limit is nearly used up any more".into(),
        }
    }
}

impl Told {
    fn view(&self) -> AgentView<'_> {
        match self {
            Self::Running => AgentView::Running,
            Self::Suspended => AgentView::Suspended,
            Self::BackOff(cause, message) => AgentView::BackOff {
                cause: *cause,
                message,
            },
            Self::Released(message) => AgentView::Released { message },
            Self::Complete(message) => AgentView::Complete { message },
            Self::Failed(cause, message) => AgentView::Failed {
                cause: *cause,
                message,
            },
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Running => "the guest runs",
            Self::Suspended => "spec.suspend is true",
            Self::BackOff(_, message)
            | Self::Released(message)
            | Self::Complete(message)
            | Self::Failed(_, message) => message,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Running => Phase::Running.as_str(),
            Self::Suspended => Phase::Suspended.as_str(),
            Self::Released(_) => EndReason::Evicted.as_str(),
            Self::Complete(_) => EndReason::Completed.as_str(),
            Self::BackOff(cause, _) | Self::Failed(cause, _) => cause.as_str(),
        }
    }
}

fn exit(end: &End) -> ExitStatus {
    ExitStatus {
        code: end.exit_code,
        message: sentence(&end.message),
        finished_at: time(end.finished_unix_ms),
        cpu_millis: i64::try_from(end.usage.cpu_ns / 1_000_000).ok(),
        memory_peak_bytes: i64::try_from(end.usage.memory_peak_bytes).ok(),
        ..ExitStatus::of(end.reason)
    }
}

/// A time in whole seconds, as Kubernetes keeps it.
fn time(unix_ms: u64) -> Option<Time> {
    let seconds = i64::try_from(unix_ms / 1000).ok()?;
    Timestamp::from_second(seconds).ok().map(Time)
}
