//! Writes the agent's part of an `AgentVM`'s status: server-side apply that names the UID in
//! `status.reportedUid`, which admission compares, so that a new object of the same name is never
//! told about the old one's life.

use std::sync::Arc;
use std::time::Duration;

use agentvm_crds::{AgentVM, AgentVMStatus};
use futures::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource as _};
use serde_json::{Value, json};

use super::FIELD_MANAGER;
use super::events::Events;
use super::objects::say;
use crate::border::{StatusSink, Unanswered};
use crate::desired::Want;
use crate::report::Report;

/// How long one write may take.
const WRITE_WITHIN: Duration = Duration::from_secs(20);

/// Writes status to the API server, and an event for each change that it tells.
#[derive(Clone)]
pub struct LiveStatus {
    client: Client,
    events: Events,
}

impl std::fmt::Debug for LiveStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LiveStatus").finish_non_exhaustive()
    }
}

impl LiveStatus {
    /// Writes for the agent of `node`.
    pub fn new(client: Client, node: &str) -> Self {
        let events = Events::new(client.clone(), node);
        Self { client, events }
    }

    async fn apply(&self, want: &Want, status: AgentVMStatus) -> Result<(), Unanswered> {
        let api: Api<AgentVM> = Api::namespaced(self.client.clone(), &want.namespace);
        let patch = Patch::Apply(body(want, &status));
        let params = PatchParams::apply(FIELD_MANAGER).force();
        // The answer is not decoded as an AgentVM: the write has happened, whatever comes back.
        let write = api.patch_status(&want.name, &params, &patch);
        match tokio::time::timeout(WRITE_WITHIN, write).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if is_gone(&error) => Ok(()),
            Ok(Err(error)) => Err(Unanswered(say(&error))),
            Err(_elapsed) => Err(Unanswered(format!("no answer within {WRITE_WITHIN:?}"))),
        }
    }
}

impl StatusSink for LiveStatus {
    fn write<'a>(
        &'a self,
        want: &'a Arc<Want>,
        report: &'a Report,
        previous: &'a [Condition],
    ) -> BoxFuture<'a, Result<(), Unanswered>> {
        async move {
            let status = report.status(previous, Timestamp::now());
            self.apply(
                want,
                AgentVMStatus {
                    reported_uid: Some(want.uid.clone()),
                    ..status
                },
            )
            .await?;
            self.events.publish(want, report).await;
            Ok(())
        }
        .boxed()
    }

    fn warn_of_files<'a>(&'a self, want: &'a Arc<Want>, message: &'a str) -> BoxFuture<'a, ()> {
        self.events.warn_of_files(want, message).boxed()
    }
}

fn body(want: &Want, status: &AgentVMStatus) -> Value {
    json!({
        "apiVersion": AgentVM::api_version(&()),
        "kind": AgentVM::kind(&()),
        "metadata": {"name": want.name, "namespace": want.namespace, "uid": want.uid},
        "status": status,
    })
}

/// True where there is no object of that UID any more. A conflict of an apply by force can
/// only be about the UID.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}
