//! A client for the sockets of the warden, the cells and the gateway.
//!
//! Each request opens its own connection: a Unix socket connects in microseconds, and a cell
//! that was replaced is then never reached through a stale one.

mod archive;
mod gateway;
mod wire;

use std::path::{Path, PathBuf};
use std::time::Duration;

use agentvm_policy::EndReason;
use bytes::Bytes;
use http::Method;

pub use self::gateway::GatewayClient;
use self::wire::Answer;
use crate::cell::{Stats, VmList, VmSpec, VmStatus};
use crate::problem::{Problem, Reason};
use crate::warden::{Cell, Cells, Info, Module};

/// How long an answer may take beyond the wait that the request itself asks for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long the warden may take to compile a module, waiting for its turn included.
const COMPILE_WITHIN: Duration = agentvm_policy::budget::COMPILE_ANSWER.duration();

/// Why a call did not yield its answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers at the socket; the request may or may not have been carried out.
    #[error("no answer at the socket {socket}: {cause}", socket = socket.display())]
    Unreachable {
        /// The socket that was tried.
        socket: PathBuf,
        /// What went wrong.
        cause: String,
    },
    /// The other side refused, and says why.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The other side answered something that is not in the contract.
    #[error("the answer from the socket {socket} does not fit the contract: {cause}", socket = socket.display())]
    Protocol {
        /// The socket that was asked.
        socket: PathBuf,
        /// What does not fit.
        cause: String,
    },
}

impl ClientError {
    /// The reason of the refusal, where it is one.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Problem(problem) => Some(problem.reason),
            Self::Unreachable { .. } | Self::Protocol { .. } => None,
        }
    }
}

/// Asks the warden.
#[derive(Clone, Debug)]
pub struct WardenClient {
    socket: PathBuf,
}

impl WardenClient {
    /// A client of the warden that serves `socket`. Connects only when asked something.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET /v1/info`.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.ask(Method::GET, "/v1/info", ANSWER_WITHIN)
            .await?
            .json()
    }

    /// `GET /v1/modules/{sha256}`; `None` where it is not compiled.
    pub async fn module(&self, sha256: &str) -> Result<Option<Module>, ClientError> {
        let path = format!("/v1/modules/{sha256}");
        self.ask(Method::GET, &path, ANSWER_WITHIN)
            .await?
            .optional_json()
    }

    /// `PUT /v1/modules/{sha256}`: compiles `wasm` unless it is in the cache, when it is the turn
    /// of `namespace`; those who name none share one turn.
    pub async fn put_module(
        &self,
        namespace: Option<&str>,
        sha256: &str,
        wasm: Bytes,
    ) -> Result<Module, ClientError> {
        let turn = namespace.map_or_else(String::new, |name| format!("?namespace={name}"));
        let path = format!("/v1/modules/{sha256}{turn}");
        wire::send(&self.socket, Method::PUT, &path, wasm, COMPILE_WITHIN)
            .await?
            .json()
    }

    /// `GET /v1/cells`.
    pub async fn cells(&self) -> Result<Cells, ClientError> {
        self.ask(Method::GET, "/v1/cells", ANSWER_WITHIN)
            .await?
            .json()
    }

    /// `PUT /v1/cells/{namespace}`: the namespace's cell, started if it was not there.
    pub async fn start_cell(&self, namespace: &str) -> Result<Cell, ClientError> {
        let path = format!("/v1/cells/{namespace}");
        self.ask(Method::PUT, &path, ANSWER_WITHIN).await?.json()
    }

    /// `DELETE /v1/cells/{namespace}`: ends the cell and every VM in it. A cell that is not
    /// there is a success.
    pub async fn stop_cell(&self, namespace: &str) -> Result<(), ClientError> {
        let path = format!("/v1/cells/{namespace}");
        self.ask(Method::DELETE, &path, ANSWER_WITHIN)
            .await?
            .nothing()
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        within: Duration,
    ) -> Result<Answer, ClientError> {
        wire::send(&self.socket, method, path, Bytes::new(), within).await
    }
}

/// Asks one cell.
#[derive(Clone, Debug)]
pub struct CellClient {
    socket: PathBuf,
}

impl CellClient {
    /// A client of the cell that serves `socket`. Connects only when asked something.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `PUT /v1/vms/{uid}`: starts the VM, or updates the live limits of the same attempt.
    pub async fn put_vm(&self, uid: &str, spec: &VmSpec) -> Result<VmStatus, ClientError> {
        let body = wire::encode(&self.socket, spec)?;
        let path = format!("/v1/vms/{uid}");
        wire::send(&self.socket, Method::PUT, &path, body, ANSWER_WITHIN)
            .await?
            .json()
    }

    /// `DELETE /v1/vms/{uid}`: stops the VM with `grace`, or forgets it where it has ended.
    ///
    /// The state in the answer says which: anything but `Ended` is still stopping and must be
    /// deleted once more when it has ended. `None` where nothing is there.
    pub async fn delete_vm(
        &self,
        uid: &str,
        grace: Duration,
        reason: EndReason,
    ) -> Result<Option<VmStatus>, ClientError> {
        let path = format!(
            "/v1/vms/{uid}?graceMs={}&reason={}",
            grace.as_millis(),
            reason.as_str()
        );
        self.ask(Method::DELETE, &path, ANSWER_WITHIN)
            .await?
            .optional_json()
    }

    /// `GET /v1/vms`: what changed after version `since`, waiting at most `wait` for a change.
    ///
    /// `since` 0 is every VM, at once.
    pub async fn list_vms(&self, since: u64, wait: Duration) -> Result<VmList, ClientError> {
        let path = format!("/v1/vms?since={since}&waitMs={}", wait.as_millis());
        self.ask(Method::GET, &path, ANSWER_WITHIN + wait)
            .await?
            .json()
    }

    /// `GET /v1/vms/{uid}`; `None` where nothing is there.
    pub async fn vm(&self, uid: &str) -> Result<Option<VmStatus>, ClientError> {
        let path = format!("/v1/vms/{uid}");
        self.ask(Method::GET, &path, ANSWER_WITHIN)
            .await?
            .optional_json()
    }

    /// `GET /v1/vms/{uid}/log`: one JSON [`crate::log::Line`] a line.
    pub async fn log(&self, uid: &str) -> Result<Bytes, ClientError> {
        let path = format!("/v1/vms/{uid}/log");
        self.ask(Method::GET, &path, ANSWER_WITHIN).await?.bytes()
    }

    /// `GET /v1/stats`.
    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.ask(Method::GET, "/v1/stats", ANSWER_WITHIN)
            .await?
            .json()
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        within: Duration,
    ) -> Result<Answer, ClientError> {
        wire::send(&self.socket, method, path, Bytes::new(), within).await
    }
}
