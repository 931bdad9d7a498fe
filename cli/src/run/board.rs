//! Where the core's status reports go: a board that the end of the run is read from.

use std::collections::BTreeMap;
use std::sync::Arc;

use agentvm_crds::AgentVMStatus;
use agentvm_crds::agentvm::Phase;
use agentvm_node_agent::border::{StatusSink, Unanswered};
use agentvm_node_agent::desired::{Uid, Want};
use agentvm_node_agent::report::Report;
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::sync::watch;

/// The latest status of every VM.
#[derive(Debug)]
pub(super) struct Board {
    statuses: watch::Sender<BTreeMap<Uid, AgentVMStatus>>,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            statuses: watch::Sender::new(BTreeMap::new()),
        }
    }
}

impl Board {
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
            self.statuses.send_modify(|statuses| {
                statuses.insert(uid, status);
            });
            Ok(())
        }
        .boxed()
    }

    /// What is mounted comes from files that are read once: nothing changes while a VM runs.
    fn warn_of_files<'a>(&'a self, _want: &'a Arc<Want>, _message: &'a str) -> BoxFuture<'a, ()> {
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

/// A condition of a status.
pub(super) fn condition<'a>(status: &'a AgentVMStatus, kind: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == kind)
}
