//! The agent's API: parse, call, answer.

mod refusal;
mod uid;

use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::gateway::{Info, Node, Reports, Usage, Vm, Vms};
use agentvm_cell_api::problem::Reason;
use agentvm_policy::budget;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::interfaces;
use crate::namespaces::Refused;
use crate::process::Process;
use refusal::{Refusal, no_such_method, no_such_route};
use uid::Uid;

/// Every route.
pub(crate) fn router(process: Arc<Process>) -> Router {
    Router::new()
        .route("/healthz", get(async || StatusCode::OK))
        .route("/v1/info", get(info))
        .route("/v1/node", put(put_node))
        .route("/v1/vms", get(list_vms))
        .route("/v1/vms/{uid}", put(put_vm).delete(delete_vm))
        .route("/v1/reports", get(reports))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(process)
}

async fn info(State(process): State<Arc<Process>>) -> Json<Info> {
    Json(process.info())
}

async fn put_node(State(process): State<Arc<Process>>, body: Body) -> Result<StatusCode, Refusal> {
    let node: Node = read(body).await?;
    let node = interfaces::expand(node, &process.addresses);
    process.namespaces.set_node(node);
    Ok(StatusCode::NO_CONTENT)
}

async fn list_vms(State(process): State<Arc<Process>>) -> Json<Vms> {
    let vms = process.namespaces.all();
    Json(Vms {
        instance: process.instance.clone(),
        vms: vms.into_iter().map(|(uid, vm)| (uid, vm.usage())).collect(),
    })
}

async fn put_vm(
    State(process): State<Arc<Process>>,
    Uid(uid): Uid,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let vm: Vm = match read(body).await {
        Ok(vm) => vm,
        Err(refusal) => {
            // Whatever it was meant to hold, what held before is no longer what is meant.
            process.namespaces.close(&uid);
            return Err(refusal);
        }
    };
    process
        .namespaces
        .put(&uid, &vm)
        .map_err(|refused| match refused {
            Refused::NodeUnknown | Refused::Foreign { .. } => {
                Refusal::new(Reason::Conflict, refused.to_string())
            }
            Refused::Bad(bad) => Refusal::unprocessable(bad.to_string()),
        })?;
    Ok(StatusCode::NO_CONTENT)
}

async fn delete_vm(
    State(process): State<Arc<Process>>,
    Uid(uid): Uid,
) -> Result<Json<Usage>, Refusal> {
    let vm = process.namespaces.remove(&uid);
    process.ledger.reports.forget(&uid);
    match vm {
        Some(vm) => Ok(Json(vm.usage())),
        None => Err(Refusal::new(
            Reason::NotFound,
            format!("the VM {uid} has no rules here"),
        )),
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Since {
    #[serde(default)]
    since: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn reports(
    State(process): State<Arc<Process>>,
    query: Result<Query<Since>, QueryRejection>,
) -> Result<Json<Reports>, Refusal> {
    let Query(Since { since, wait_ms }) =
        query.map_err(|error| Refusal::new(Reason::BadRequest, error.body_text()))?;
    let wait = Duration::from_millis(wait_ms).min(budget::REPORTS_WAIT.duration());
    let (number, denials) = process.ledger.reports.after(since, wait).await;
    Ok(Json(Reports {
        instance: process.instance.clone(),
        number,
        denials,
    }))
}

/// Reads a body of JSON, and wipes its bytes: they may hold keys.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let most = budget::GATEWAY_BODY_BYTES.usize();
    let mut body = Limited::new(body, most);
    let mut bytes = Zeroizing::new(Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body broke off, or has more than {most} bytes: {error}");
            Refusal::new(Reason::BadRequest, message)
        })?;
        if let Ok(data) = frame.into_data() {
            grow(&mut bytes, &data);
        }
    }
    serde_json::from_slice(&bytes).map_err(|error| {
        // What serde says of a string that is no string may quote it: only the place is told.
        let (line, column) = (error.line(), error.column());
        let message = format!(
            "the body is not what docs/socket-api.md says: {:?} error at line {line}, column {column}",
            error.classify()
        );
        Refusal::new(Reason::BadRequest, message)
    })
}

/// Appends, and wipes what it moves away from where there was too little room.
fn grow(bytes: &mut Zeroizing<Vec<u8>>, more: &[u8]) {
    let length = bytes.len().saturating_add(more.len());
    if length > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(length.saturating_mul(2)));
        larger.extend_from_slice(bytes);
        *bytes = larger;
    }
    bytes.extend_from_slice(more);
}
