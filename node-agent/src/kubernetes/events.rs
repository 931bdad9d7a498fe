//! Events on the objects: one for each change that a status write tells, deduplicated into
//! series by the recorder.

use agentvm_crds::AgentVM;
use agentvm_crds::agentvm::Phase;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource as _};

use crate::border::Warning;
use crate::desired::Want;
use crate::report::{News, Report};

/// Publishes events; one that can't be published is only logged.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Events of the agent of `node`.
    pub fn new(client: Client, node: &str) -> Self {
        let reporter = Reporter {
            controller: "agentvm.dev/node-agent".to_owned(),
            instance: Some(node.to_owned()),
        };
        Self {
            recorder: Recorder::new(client, reporter),
        }
    }

    /// Publishes what a status write told.
    pub async fn publish(&self, want: &Want, report: &Report) {
        for news in &report.news {
            let (type_, reason, action) = kind(report, *news);
            self.about(want, type_, reason, action, &report.message(*news))
                .await;
        }
    }

    /// Publishes what someone should look at while the VM runs on.
    pub async fn warn(&self, want: &Want, warning: &Warning) {
        let action = match warning {
            Warning::FilesNotUpdated(_) | Warning::KeysNotUpdated(_) => "Update",
            Warning::EgressDenied(_) => "Request",
        };
        let (reason, message) = (warning.reason(), warning.message());
        self.about(want, EventType::Warning, reason, action, &message)
            .await;
    }

    async fn about(
        &self,
        want: &Want,
        type_: EventType,
        reason: &str,
        action: &str,
        message: &str,
    ) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(agentvm_crds::conditions::sentence(message)),
            action: action.to_owned(),
            secondary: None,
        };
        let object = ObjectReference {
            api_version: Some(AgentVM::api_version(&()).into_owned()),
            kind: Some(AgentVM::kind(&()).into_owned()),
            namespace: Some(want.namespace.clone()),
            name: Some(want.name.clone()),
            uid: Some(want.uid.clone()),
            ..ObjectReference::default()
        };
        if let Err(error) = self.recorder.publish(&event, &object).await {
            tracing::debug!(namespace = %want.namespace, vm = %want.name, %error, "event was not published");
        }
    }
}

fn kind(report: &Report, news: News) -> (EventType, &str, &'static str) {
    match news {
        News::Phase => {}
        News::StoragePressure => return (EventType::Warning, "StoragePressure", "Run"),
        News::NoStoragePressure => return (EventType::Normal, "NoStoragePressure", "Run"),
        News::LimitsPressure => return (EventType::Warning, "LimitsPressure", "Run"),
        News::NoLimitsPressure => return (EventType::Normal, "NoLimitsPressure", "Run"),
    }
    match report.key.phase() {
        Phase::Running => (EventType::Normal, "Started", "Start"),
        Phase::Suspended => (EventType::Normal, "Suspended", "Suspend"),
        Phase::Complete => (EventType::Normal, "Completed", "Run"),
        Phase::Failed => (EventType::Warning, report.key.reason(), "Run"),
        Phase::BackOff => (EventType::Warning, report.key.reason(), "Restart"),
        Phase::Pending | Phase::Starting => (EventType::Normal, report.key.reason(), "Start"),
    }
}
