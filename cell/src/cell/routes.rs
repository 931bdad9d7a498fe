//! A cell's HTTP routes: parse, call, answer.

use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::cell::{Stats, VmList, VmSpec, VmStatus};
use agentvm_cell_api::problem::Reason;
use agentvm_policy::EndReason;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Deserialize;

use super::archive::{Archives, get_archive, put_archive};
use super::link::Link;
use super::log::Writer;
use super::mounts;
use super::network::Network;
use super::pace::Pace;
use super::programs::Programs;
use super::reclaim::Reclaim;
use super::schedule::Spawner;
use super::start;
use super::stats::Figures;
use super::vms::{Deleted, Put, Vms};
use crate::refusal::{Refusal, no_such_method, no_such_route};

/// The largest `PUT`: the files of its mounts, which an agent brings up to 20 MiB of and base64
/// makes a third longer; beside them arguments and environment, which may hold a whole script.
const MAX_BODY_BYTES: usize = agentvm_policy::budget::REQUEST_BYTES.usize();

/// The longest body that is read and checked where requests are answered.
const READ_AT_ONCE_BYTES: usize = agentvm_policy::budget::READ_AT_ONCE_BYTES.usize();

/// The longest wait for a change.
const MAX_WAIT: Duration = agentvm_policy::budget::CHANGE_WAIT.duration();

/// How long the newest lines may take to reach a VM's file before it is read without them.
const SETTLE_WITHIN: Duration = agentvm_policy::budget::LOG_SETTLES.duration();

/// The longest grace.
const MAX_GRACE: Duration = agentvm_policy::budget::GRACE.duration();

/// What the routes work on.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) namespace: String,
    pub(super) vms: Arc<Vms>,
    pub(super) programs: Programs,
    pub(super) link: Link,
    pub(super) logs: Writer,
    pub(super) guests: Spawner,
    pub(super) network: Network,
    pub(super) pace: Pace,
    pub(super) figures: Figures,
    pub(super) reclaim: Reclaim,
    pub(super) archives: Archives,
}

/// Every route of a cell.
pub(super) fn router(cell: Arc<Cell>) -> Router {
    Router::new()
        .route("/v1/vms", get(list))
        .route("/v1/vms/{uid}", get(vm).put(put_vm).delete(delete_vm))
        .route("/v1/vms/{uid}/log", get(log))
        .route("/v1/vms/{uid}/archive", get(get_archive))
        .route("/v1/archives/{name}", put(put_archive))
        .route("/v1/stats", get(stats))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(cell)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    since: u64,
    #[serde(default)]
    wait_ms: u64,
}

async fn list(
    State(cell): State<Arc<Cell>>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<VmList>, Refusal> {
    let ListQuery { since, wait_ms } = checked(query)?;
    let wait = Duration::from_millis(wait_ms).min(MAX_WAIT);
    Ok(Json(cell.vms.changed_since(since, wait).await))
}

async fn put_vm(
    State(cell): State<Arc<Cell>>,
    Path(uid): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<VmStatus>), Refusal> {
    check_uid(&uid)?;
    let body = body.map_err(|error| unread(&error))?;
    let spec = if body.len() <= READ_AT_ONCE_BYTES {
        read_spec(&body)?
    } else {
        let reading = tokio::task::spawn_blocking(move || read_spec(&body));
        reading
            .await
            .map_err(|error| Refusal::new(Reason::Internal, error.to_string()))??
    };
    // A task of its own: an asker that goes away leaves no VM half-started.
    let starting = tokio::spawn(async move { start::put(&cell, &uid, spec).await });
    match starting.await {
        Ok(Ok(Put::Started(status))) => Ok((StatusCode::CREATED, Json(status))),
        Ok(Ok(Put::Updated(status))) => Ok((StatusCode::OK, Json(status))),
        Ok(Err(problem)) => Err(problem.into()),
        Err(error) => Err(Refusal::new(
            Reason::Internal,
            format!("starting failed: {error}"),
        )),
    }
}

async fn vm(
    State(cell): State<Arc<Cell>>,
    Path(uid): Path<String>,
) -> Result<Json<VmStatus>, Refusal> {
    cell.vms.get(&uid).map(Json).ok_or_else(|| no_such_vm(&uid))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DeleteQuery {
    #[serde(default)]
    grace_ms: u64,
    reason: Option<EndReason>,
}

async fn delete_vm(
    State(cell): State<Arc<Cell>>,
    Path(uid): Path<String>,
    query: Result<Query<DeleteQuery>, QueryRejection>,
) -> Result<(StatusCode, Json<VmStatus>), Refusal> {
    let DeleteQuery { grace_ms, reason } = checked(query)?;
    let reason = reason.unwrap_or(EndReason::Stopped);
    check_reason(reason)?;
    let grace = Duration::from_millis(grace_ms).min(MAX_GRACE);
    match cell.vms.delete(&uid, reason, grace) {
        Some(Deleted::Stopping(status)) => Ok((StatusCode::ACCEPTED, Json(status))),
        Some(Deleted::Forgotten(status, files)) => {
            cell.reclaim.free(files);
            Ok((StatusCode::OK, Json(status)))
        }
        None => Err(no_such_vm(&uid)),
    }
}

async fn log(State(cell): State<Arc<Cell>>, Path(uid): Path<String>) -> Result<Response, Refusal> {
    let log = cell.vms.log(&uid).ok_or_else(|| no_such_vm(&uid))?;
    let failed = |error: &dyn std::fmt::Display| {
        Refusal::new(
            Reason::Internal,
            format!("the log of VM {uid} can't be read: {error}"),
        )
    };
    // Who has seen a VM end finds its last line here.
    log.settle(SETTLE_WITHIN).await;
    let lines = tokio::task::spawn_blocking(move || log.read_file())
        .await
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))?;
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], lines).into_response())
}

async fn stats(State(cell): State<Arc<Cell>>) -> Result<Json<Stats>, Refusal> {
    let own = cell.figures.read().map_err(|error| {
        Refusal::new(
            Reason::Internal,
            format!("the cell's own figures can't be read: {error}"),
        )
    })?;
    Ok(Json(Stats {
        vms: cell.vms.usage(),
        resident_bytes: own.resident_bytes,
        heap_bytes: agentvm_runtime::heap_bytes(),
        cpu_ns: own.cpu_ns,
        threads: own.threads,
        host_panics: agentvm_runtime::host_panics_total() + cell.guests.panics_total(),
    }))
}

pub(super) fn checked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query
        .map(|Query(query)| query)
        .map_err(|error| bad_request(error.body_text()))
}

/// A UID is what Kubernetes makes: it names log entries and is shown in messages.
fn check_uid(uid: &str) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=64).contains(&uid.len()) && uid.bytes().all(plain) {
        return Ok(());
    }
    Err(bad_request(
        "a uid has 1 to 64 letters, digits and hyphens".to_owned(),
    ))
}

/// A body that is too long, or broke off.
fn unread(error: &BytesRejection) -> Refusal {
    let message = if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        format!(
            "the body has more than {} MiB: mount fewer or smaller files",
            MAX_BODY_BYTES >> 20
        )
    } else {
        error.body_text()
    };
    bad_request(message)
}

fn read_spec(body: &[u8]) -> Result<VmSpec, Refusal> {
    let spec: VmSpec = serde_json::from_slice(body)
        .map_err(|error| bad_request(format!("the VM's specification: {error}")))?;
    check_spec(&spec)?;
    mounts::verify(&spec.mounts)?;
    Ok(spec)
}

/// What would only fail later, or make lines of the log too long.
fn check_spec(spec: &VmSpec) -> Result<(), Refusal> {
    let plain = |byte: u8| byte.is_ascii_graphic();
    if !(1..=253).contains(&spec.name.len()) || !spec.name.bytes().all(plain) {
        return Err(bad_request(
            "the VM's name has 1 to 253 printable ASCII characters".to_owned(),
        ));
    }
    let texts = spec
        .args
        .iter()
        .chain(spec.env.keys())
        .chain(spec.env.values());
    if texts.into_iter().any(|text| text.contains('\0')) {
        return Err(bad_request(
            "args and env can't hold a zero byte".to_owned(),
        ));
    }
    Ok(())
}

/// Only ends that somebody outside decides may be asked for.
fn check_reason(reason: EndReason) -> Result<(), Refusal> {
    match reason {
        EndReason::Stopped | EndReason::Evicted | EndReason::Fenced => Ok(()),
        EndReason::Completed
        | EndReason::Error
        | EndReason::Trap
        | EndReason::OutOfFuel
        | EndReason::MemoryLimit
        | EndReason::DeadlineExceeded
        | EndReason::HostError => Err(bad_request(format!(
            "a VM can be stopped as Stopped, Evicted or Fenced, not as {}",
            reason.as_str()
        ))),
    }
}

pub(super) fn bad_request(message: String) -> Refusal {
    Refusal::new(Reason::BadRequest, message)
}

pub(super) fn no_such_vm(uid: &str) -> Refusal {
    let shown: String = uid.chars().take(70).collect();
    Refusal::new(Reason::NotFound, format!("this cell has no VM {shown:?}"))
}
