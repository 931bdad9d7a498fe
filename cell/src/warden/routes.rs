//! The warden's HTTP routes: parse, call, answer.

use std::sync::Arc;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::{Cell, Cells as CellList, Info, Module};
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::cells::{self, Cells};
use super::code::{Draft, Sealed};
use super::compilers::Place;
use super::digest::Digest;
use super::modules::{Modules, internal};
use super::queue::Name;
use super::{Settings, machine, resident_bytes};
use crate::control::Verdict;
use crate::guards::{Guard, is_on};
use crate::refusal::{Refusal, no_such_method, no_such_route};

/// What is read of a refused module: an agent never brings a larger one.
const MAX_REFUSED_BYTES: u64 = agentvm_policy::budget::MODULE_BYTES.value;

/// What the routes work on.
#[derive(Debug)]
pub(super) struct Warden {
    pub(super) settings: Arc<Settings>,
    pub(super) facts: Verdict,
    pub(super) slots: machine::Slots,
    pub(super) modules: Arc<Modules>,
    pub(super) cells: Arc<Cells>,
}

/// Every route of the warden.
pub(super) fn router(warden: Warden) -> Router {
    Router::new()
        .route("/v1/info", get(info))
        .route("/v1/modules/{sha256}", put(put_module).get(module))
        .route("/v1/cells", get(list_cells))
        .route("/v1/cells/{namespace}", put(start_cell).delete(stop_cell))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .with_state(Arc::new(warden))
}

async fn info(State(warden): State<Arc<Warden>>) -> Result<Json<Info>, Refusal> {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map_err(|error| Refusal(internal(format!("{path} can't be read: {error}"))))
    };
    let max_map_count =
        machine::max_map_count().map_err(|error| Refusal(internal(error.to_string())))?;
    Ok(Json(Info {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        engine: warden.facts.engine.clone(),
        jail: warden.facts.level,
        jail_message: warden.facts.message.clone(),
        max_vms_per_cell: warden.settings.max_vms_per_cell,
        max_cells: warden.slots.cells,
        max_map_count,
        shortage: warden.slots.shortage.clone(),
        stopping: warden.cells.are_stopping(),
        pid: std::process::id(),
        resident_bytes: resident_bytes(&read("/proc/self/statm")?),
        compiles: warden.modules.compiles(),
    }))
}

async fn module(
    State(warden): State<Arc<Warden>>,
    Path(sha256): Path<String>,
) -> Result<Json<Module>, Refusal> {
    let digest = parse(&sha256)?;
    let code = warden.modules.code(&digest).await?.ok_or_else(|| {
        Refusal::new(
            Reason::NotFound,
            format!("the module {digest} is not compiled here"),
        )
    })?;
    Ok(Json(Module {
        sha256: digest.to_string(),
        kind: code.kind,
        compiled_bytes: code.sealed.bytes(),
        compile_ms: 0,
    }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutQuery {
    /// Whose module it is.
    namespace: Option<String>,
}

async fn put_module(
    State(warden): State<Arc<Warden>>,
    Path(sha256): Path<String>,
    query: Result<Query<PutQuery>, QueryRejection>,
    mut body: Body,
) -> Result<Json<Module>, Refusal> {
    let admitted = admit(&warden, &sha256, query, &mut body).await;
    let (digest, wasm, place) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => {
            hear_out(&mut body).await;
            return Err(refusal);
        }
    };
    Ok(Json(warden.modules.put(digest, wasm, place).await?))
}

async fn admit(
    warden: &Warden,
    sha256: &str,
    query: Result<Query<PutQuery>, QueryRejection>,
    body: &mut Body,
) -> Result<(Digest, Sealed, Place), Refusal> {
    let digest = parse(sha256)?;
    let namespace = queued_as(query)?;
    let place = warden.modules.compilers().enter(namespace)?;
    let most = warden.settings.max_module_mib << 20;
    let wasm = take_in(body, (&digest, most), &place).await?;
    Ok((digest, wasm, place))
}

/// Reads what is left of a refused module and keeps none of it: whoever still writes would not
/// read why.
async fn hear_out(body: &mut Body) {
    let mut bytes = 0_u64;
    while let Some(Ok(frame)) = body.frame().await {
        let more = frame.data_ref().map_or(0, bytes::Bytes::len);
        bytes = bytes.saturating_add(u64::try_from(more).unwrap_or(u64::MAX));
        if bytes > MAX_REFUSED_BYTES {
            return;
        }
    }
}

/// Who is waiting.
fn queued_as(query: Result<Query<PutQuery>, QueryRejection>) -> Result<Name, Refusal> {
    let Query(PutQuery { namespace }) =
        query.map_err(|error| Refusal::new(Reason::BadRequest, error.body_text()))?;
    if let Some(name) = &namespace {
        cells::check_namespace(name)?;
    }
    Ok(Name(namespace))
}

/// Reads a module into sealed memory, and holds it against the digest that was asked for.
async fn take_in(
    body: &mut Body,
    (digest, max_bytes): (&Digest, u64),
    place: &Place,
) -> Result<Sealed, Refusal> {
    if let Some(bytes) = body.size_hint().exact() {
        fits(bytes, max_bytes)?;
    }
    let failed =
        |error: std::io::Error| Refusal(internal(format!("no memory for the module: {error}")));
    let mut draft = Draft::new("module").map_err(failed)?;
    let mut hash = Sha256::new();
    let mut bytes = 0_u64;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(
                Reason::BadRequest,
                format!("the module's bytes broke off: {error}"),
            )
        })?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        bytes = bytes.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        fits(bytes, max_bytes)?;
        place.grow(data.len())?;
        hash.update(&data);
        draft.write_all(&data).map_err(failed)?;
    }
    let got = Digest::finish(hash);
    if got != *digest {
        let message = format!("the bytes have the SHA-256 {got}, not {digest}");
        return Err(Refusal::new(Reason::BadRequest, message));
    }
    draft.seal().map_err(failed)
}

/// Refuses a module that is too large, before it costs anything.
fn fits(bytes: u64, max_bytes: u64) -> Result<(), Refusal> {
    if bytes <= max_bytes || !is_on(Guard::ModuleSize) {
        return Ok(());
    }
    let message = format!(
        "the module has more than {} MiB, the most that this node accepts: make it smaller, or raise --max-module-mib of the node's warden",
        max_bytes >> 20
    );
    Err(Refusal::new(Reason::CompileLimit, message))
}

fn parse(sha256: &str) -> Result<Digest, Refusal> {
    Digest::parse(sha256).ok_or_else(|| {
        let shown: String = sha256.chars().take(70).collect();
        let message = format!("{shown:?} is not a SHA-256 in 64 lower-case hex digits");
        Refusal::new(Reason::BadRequest, message)
    })
}

async fn list_cells(State(warden): State<Arc<Warden>>) -> Json<CellList> {
    Json(warden.cells.list())
}

async fn start_cell(
    State(warden): State<Arc<Warden>>,
    Path(namespace): Path<String>,
) -> Result<Json<Cell>, Refusal> {
    Ok(Json(warden.cells.start(&namespace).await?))
}

async fn stop_cell(
    State(warden): State<Arc<Warden>>,
    Path(namespace): Path<String>,
) -> Result<StatusCode, Refusal> {
    if warden.cells.end(&namespace).await {
        return Ok(StatusCode::NO_CONTENT);
    }
    let shown: String = namespace.chars().take(70).collect();
    Err(Refusal(Problem {
        reason: Reason::NotFound,
        message: format!("namespace {shown:?} has no cell"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    /// What comes of a module of 4 KiB where 1 KiB is the most, without a word on its size before.
    async fn bring_in(place: &Place) -> Result<Sealed, Refusal> {
        let wasm = vec![7; 4096];
        let digest = Digest::of(&wasm);
        let pieces = wasm
            .chunks(512)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        let pieces: Vec<_> = pieces.collect();
        let mut body = Body::from_stream(futures::stream::iter(pieces));
        take_in(&mut body, (&digest, 1024), place).await
    }

    /// A place in a queue without bounds.
    fn place() -> Place {
        let bounds = crate::warden::queue::Bounds {
            at_once: 1,
            waiting: 1,
            total: 1,
            waiting_bytes: 0,
            total_bytes: 0,
        };
        let compilers = crate::warden::compilers::Compilers::within(bounds);
        compilers.enter(Name(None)).unwrap()
    }

    #[test]
    fn e03_a_module_over_the_cap_is_not_taken_in_though_it_does_not_say_its_size() {
        let place = place();
        let refused = futures::executor::block_on(bring_in(&place)).unwrap_err();
        assert_eq!(refused.0.reason, Reason::CompileLimit);
        assert!(refused.0.message.contains("--max-module-mib"));
    }

    #[test]
    fn e03_mutant_without_the_cap_all_of_it_is_taken_in() {
        let place = place();
        let taken = switch_off(Guard::ModuleSize, || {
            futures::executor::block_on(bring_in(&place))
        });
        assert_eq!(taken.unwrap().bytes(), 4096);
    }
}
