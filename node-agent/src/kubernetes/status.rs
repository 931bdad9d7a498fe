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
use crate::border::{StatusSink, Unanswered, Warning};
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
        let written = async {
            match write.await {
                Ok(_) => Ok(()),
                Err(error) if may_be_gone(&error) && is_gone(&api, want).await? => Ok(()),
                Err(error) => Err(error),
            }
        };
        match tokio::time::timeout(WRITE_WITHIN, written).await {
            Ok(Ok(())) => Ok(()),
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

    fn warn<'a>(&'a self, want: &'a Arc<Want>, warning: &'a Warning) -> BoxFuture<'a, ()> {
        self.events.warn(want, warning).boxed()
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

/// True where there may be no object of that UID any more. A conflict may also be one with other
/// writers: the API server gives an apply up after some attempts.
fn may_be_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

/// Asks the API server itself: a write that is taken for done is never repeated.
async fn is_gone(api: &Api<AgentVM>, want: &Want) -> Result<bool, kube::Error> {
    let found = api.get_metadata_opt(&want.name).await?;
    Ok(found.is_none_or(|found| found.metadata.uid.as_deref() != Some(want.uid.as_str())))
}

#[cfg(test)]
mod tests {
    use agentvm_crds::AgentVMSpec;
    use agentvm_crds::agentvm::Assignment;
    use axum::http::{Method, StatusCode};
    use axum::{Json, Router};

    use super::*;
    use crate::catalogue::{Catalogue, Change};

    /// A VM with nothing special about it.
    fn want() -> Arc<Want> {
        let mut vm = AgentVM::new("vm-a", AgentVMSpec::default());
        vm.metadata.namespace = Some("tenant-ns".to_owned());
        vm.metadata.uid = Some("uid-a".to_owned());
        vm.status = Some(AgentVMStatus {
            assignment: Some(Assignment {
                node_name: "node-a".to_owned(),
                epoch: 1,
                evict: None,
                claimed: None,
            }),
            ..AgentVMStatus::default()
        });
        let mut catalogue = Catalogue::new("node-a");
        catalogue.apply(Change::Vm(Box::new(vm)));
        Arc::clone(&catalogue.desired().vms["uid-a"])
    }

    /// An API server that refuses every write with `code` and says whose UID the name has.
    async fn refusing(code: StatusCode, uid: Option<&'static str>) -> LiveStatus {
        let answer = move |method: Method| async move {
            match (method, uid) {
                (Method::GET, Some(uid)) => {
                    let found = json!({
                        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
                        "metadata": {"name": "vm-a", "uid": uid},
                    });
                    (StatusCode::OK, Json(found))
                }
                (Method::GET, None) => {
                    (StatusCode::NOT_FOUND, Json(refusal(StatusCode::NOT_FOUND)))
                }
                (_, _) => (code, Json(refusal(code))),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let config = kube::Config::new(address.parse().unwrap());
        LiveStatus::new(Client::try_from(config).unwrap(), "node-a")
    }

    fn refusal(code: StatusCode) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {},
            "message": "no", "code": code.as_u16(),
            "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""),
        })
    }

    #[tokio::test]
    async fn a_write_that_conflicts_is_done_only_where_its_object_is_gone() {
        for (code, uid, is_done) in [
            (StatusCode::CONFLICT, Some("uid-a"), false),
            (StatusCode::CONFLICT, Some("uid-b"), true),
            (StatusCode::CONFLICT, None, true),
            (StatusCode::NOT_FOUND, None, true),
            (StatusCode::FORBIDDEN, None, false),
        ] {
            let status = refusing(code, uid).await;
            let written = status.apply(&want(), AgentVMStatus::default()).await;
            assert_eq!(written.is_ok(), is_done, "{code} {uid:?}: {written:?}");
        }
    }
}
