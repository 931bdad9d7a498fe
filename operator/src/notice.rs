//! Events on the objects (`events.k8s.io/v1`): what to tell, and the task that tells it.
//!
//! Telling is never waited for: notices go through a bounded channel, and what does not fit is
//! dropped and counted. Equal ones within six minutes become a series of one Event.

use std::sync::Arc;
use std::time::Duration;

use agentvm_crds::AgentVM;
use agentvm_crds::conditions::{AcceptedReason, PlacedReason, sentence};
use agentvm_policy::Refusal;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use crate::apply::MANAGER;
use crate::decide::{Eviction, Lost};
use crate::error::chain;
use crate::metrics::Metrics;

/// Notices that wait to be written.
pub const WAITING_NOTICES: usize = 16_384;
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// One thing worth an Event.
#[derive(Clone, Debug)]
pub struct Notice {
    regarding: ObjectReference,
    severity: EventType,
    reason: &'static str,
    action: &'static str,
    note: String,
    related: Option<ObjectReference>,
}

impl Notice {
    /// A VM got its node.
    pub fn placed(vm: &AgentVM, node: &str, lost: Option<&Lost>) -> Self {
        match lost {
            None => {
                let text = format!("assigned to node {node}");
                Self::new(
                    vm,
                    EventType::Normal,
                    PlacedReason::Placed.as_str(),
                    "Placing",
                    &text,
                )
            }
            Some(lost) => {
                let text = format!("node {} {}: assigned to node {node}", lost.node, lost.how);
                Self::new(vm, EventType::Warning, "Reassigned", "Placing", &text)
            }
        }
        .about(node)
    }

    /// A VM fits on no node.
    pub fn unschedulable(vm: &AgentVM, reasons: &str) -> Self {
        Self::new(
            vm,
            EventType::Warning,
            PlacedReason::Unschedulable.as_str(),
            "Placing",
            reasons,
        )
    }

    /// A spec is refused.
    pub fn refused(vm: &AgentVM, reason: AcceptedReason, message: &str) -> Self {
        Self::new(
            vm,
            EventType::Warning,
            reason.as_str(),
            "Validating",
            message,
        )
    }

    /// An `Audit` policy would have refused it.
    pub fn audited(vm: &AgentVM, refusals: &[Refusal]) -> Self {
        let sentences: Vec<&str> = refusals
            .iter()
            .map(|refusal| refusal.message.as_str())
            .collect();
        Self::new(
            vm,
            EventType::Warning,
            "PolicyAudited",
            "Validating",
            &sentences.join("; "),
        )
    }

    /// A VM's node is not heard from.
    pub fn silent(vm: &AgentVM) -> Self {
        let silent = vm
            .assignment()
            .map(|assignment| assignment.node_name.as_str())
            .unwrap_or_default();
        let note = format!(
            "the agent of node {silent} is not heard from; the VM stays there and may still run"
        );
        Self::new(vm, EventType::Warning, "NodeSilent", "Watching", &note).about(silent)
    }

    /// A VM must leave its node.
    pub fn leaving(vm: &AgentVM, why: &str) -> Self {
        let node = vm
            .assignment()
            .map(|assignment| assignment.node_name.as_str());
        Self::new(vm, EventType::Warning, "Evicted", "Evicting", why)
            .about(node.unwrap_or_default())
    }

    /// A VM ended with its node.
    pub fn evicted(vm: &AgentVM, eviction: &Eviction) -> Self {
        let Eviction { lost, because } = eviction;
        Self::new(
            vm,
            EventType::Warning,
            "Evicted",
            "Placing",
            &format!("node {} {}; {because}", lost.node, lost.how),
        )
    }

    fn new(
        vm: &AgentVM,
        severity: EventType,
        reason: &'static str,
        action: &'static str,
        note: &str,
    ) -> Self {
        Self {
            regarding: vm.object_ref(&()),
            severity,
            reason,
            action,
            note: sentence(note),
            related: None,
        }
    }

    /// Names the node it is about; Events that differ in it are not one series.
    fn about(mut self, node: &str) -> Self {
        self.related = Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            ..ObjectReference::default()
        });
        self
    }
}

/// Writes notices until their senders are gone.
///
/// One at a time: under load the API server's own slowness keeps them behind the assignments.
pub async fn write_all(
    client: Client,
    instance: String,
    mut notice_rx: mpsc::Receiver<Notice>,
    metrics: Arc<Metrics>,
) {
    let recorder = Recorder::new(
        client,
        Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(instance),
        },
    );
    while let Some(notice) = notice_rx.recv().await {
        let Notice {
            regarding,
            severity,
            reason,
            action,
            note,
            related,
        } = notice;
        let (reason, action) = (reason.to_owned(), action.to_owned());
        let event = Event {
            type_: severity,
            reason,
            note: Some(note),
            action,
            secondary: related,
        };
        match timeout(LONGEST_WRITE, recorder.publish(&event, &regarding)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                metrics.events_lost.inc();
                debug!(
                    reason = event.reason,
                    error = chain(&error),
                    "an event was not written"
                );
            }
            Err(_) => {
                metrics.events_lost.inc();
            }
        }
    }
}
