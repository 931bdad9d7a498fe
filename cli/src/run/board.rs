//! Where the core's status reports go: a board that the end of the run is read from. What a
//! person should know at once is said at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use agentvm_cell_api::gateway::Denial;
use agentvm_crds::AgentVMStatus;
use agentvm_crds::agentvm::Phase;
use agentvm_crds::conditions::ConditionType;
use agentvm_node_agent::border::{StatusSink, Unanswered, Warning};
use agentvm_node_agent::desired::{Uid, Want};
use agentvm_node_agent::report::Report;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::sync::watch;

use crate::print::{self, Output};

/// The latest status of every VM.
#[derive(Debug)]
pub(super) struct Board {
    statuses: watch::Sender<BTreeMap<Uid, AgentVMStatus>>,
    /// Denials that were said, by VM, host and code.
    said: Mutex<BTreeSet<(Uid, String, String)>>,
    output: Output,
}

impl Board {
    /// An empty board, which speaks as `output` asks.
    pub(super) fn new(output: Output) -> Self {
        Self {
            statuses: watch::Sender::new(BTreeMap::new()),
            said: Mutex::default(),
            output,
        }
    }

    /// Resolves when each of `uids` is over.
    pub(super) async fn all_over(&self, uids: &[Uid]) {
        let mut seen = self.statuses.subscribe();
        // The sender lives as long as this borrow, so waiting can't fail.
        let _over = seen
            .wait_for(|statuses| {
                uids.iter()
                    .all(|uid| statuses.get(uid).is_some_and(is_over))
            })
            .await;
    }

    /// Says what someone should look at, each host and reason of a VM once.
    pub(super) fn remark(&self, (namespace, name): (&str, &str), uid: &Uid, warning: &Warning) {
        if self.is_news(uid, warning) {
            let (reason, message) = (warning.reason(), warning.message());
            let line = format!("agentvm: {namespace}/{name}: {reason}: {message}");
            print::remark(self.output, &line);
        }
    }

    fn is_news(&self, uid: &Uid, warning: &Warning) -> bool {
        match warning {
            Warning::FilesNotUpdated(_) | Warning::KeysNotUpdated(_) => true,
            Warning::EgressDenied(Denial { host, code, .. }) => {
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                said.insert((uid.clone(), host.clone(), code.clone()))
            }
        }
    }

    /// The latest status of a VM; empty where nothing was reported.
    pub(super) fn status(&self, uid: &str) -> AgentVMStatus {
        self.statuses.borrow().get(uid).cloned().unwrap_or_default()
    }
}

impl StatusSink for Board {
    fn write<'a>(
        &'a self,
        want: &'a Arc<Want>,
        report: &'a Report,
        _previous: &'a [Condition],
    ) -> BoxFuture<'a, Result<(), Unanswered>> {
        let uid = want.uid.clone();
        async move {
            let before = self.status(&uid);
            let status = report.status(&before.conditions, Timestamp::now());
            if let Some(pressing) = pressing(&before, &status) {
                let (namespace, name) = (&want.namespace, &want.name);
                let line = format!("agentvm: {namespace}/{name}: {pressing}");
                print::remark(self.output, &line);
            }
            self.statuses.send_modify(|statuses| {
                statuses.insert(uid, status);
            });
            Ok(())
        }
        .boxed()
    }

    /// What is mounted, and the keys of rules, come from files that are read once: of what changes
    /// while a VM runs, only denials are left.
    fn warn<'a>(&'a self, want: &'a Arc<Want>, warning: &'a Warning) -> BoxFuture<'a, ()> {
        self.remark((&want.namespace, &want.name), &want.uid, warning);
        std::future::ready(()).boxed()
    }
}

/// True where nothing will follow. What a start lacks now will not come during this run.
pub(super) fn is_over(status: &AgentVMStatus) -> bool {
    match status.phase {
        Some(Phase::Complete | Phase::Failed | Phase::Suspended) => true,
        Some(Phase::BackOff) => {
            condition(status, "ImageReady").is_some_and(|condition| condition.status == "False")
        }
        Some(Phase::Pending | Phase::Starting | Phase::Running) | None => false,
    }
}

/// Which limits press that did not before, with what to raise.
fn pressing(before: &AgentVMStatus, now: &AgentVMStatus) -> Option<String> {
    let kind = ConditionType::LimitsPressure.as_str();
    let pressing = condition(now, kind)?;
    let is_known = condition(before, kind).is_some_and(|old| old.message == pressing.message);
    (!is_known).then(|| format!("{}: {}", pressing.reason, pressing.message))
}

/// A condition of a status.
pub(super) fn condition<'a>(status: &'a AgentVMStatus, kind: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
}

#[cfg(test)]
mod tests {
    use agentvm_crds::conditions::{At, Pressing, limits_pressure};
    use agentvm_policy::LimitField;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn status(pressing: &[LimitField]) -> AgentVMStatus {
        let now = Time(Timestamp::UNIX_EPOCH);
        let at = At {
            generation: Some(1),
            now: &now,
            previous: &[],
        };
        let pressing: Vec<_> = pressing
            .iter()
            .map(|&field| Pressing {
                field,
                used: None,
                limit: field.max(),
            })
            .collect();
        AgentVMStatus {
            conditions: limits_pressure(&at, &pressing).into_iter().collect(),
            ..AgentVMStatus::default()
        }
    }

    #[test]
    fn a_limit_that_presses_is_said_once_with_what_to_raise() {
        let (calm, fuel) = (status(&[]), status(&[LimitField::Fuel]));
        let both = status(&[LimitField::Memory, LimitField::Fuel]);
        let said = pressing(&calm, &fuel).unwrap_or_default();
        assert!(said.starts_with("FuelPressure: "), "{said}");
        assert!(said.contains("raise spec.limits.fuel"), "{said}");
        assert_eq!(pressing(&fuel, &fuel), None);
        let said = pressing(&fuel, &both).unwrap_or_default();
        assert!(said.contains("raise spec.limits.memory"), "{said}");
        assert_eq!(pressing(&both, &calm), None);
    }
}
