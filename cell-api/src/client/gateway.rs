//! A client for the gateway's socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use zeroize::Zeroizing;

use super::wire::{self, Answer};
use super::{ANSWER_WITHIN, ClientError};
use crate::gateway::{Info, Node, Reports, Usage, Vm, Vms};

/// Asks the gateway.
#[derive(Clone, Debug)]
pub struct GatewayClient {
    socket: PathBuf,
}

impl GatewayClient {
    /// A client of the gateway that serves `socket`. Connects only when asked something.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
        }
    }

    /// A client of the gateway whose directory is `dir`.
    pub fn of_dir(dir: &Path) -> Self {
        Self::new(dir.join(crate::gateway::API))
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `GET /v1/info`.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.get("/v1/info", ANSWER_WITHIN).await?.json()
    }

    /// `PUT /v1/node`: what is closed to every VM because of where it runs.
    pub async fn put_node(&self, node: &Node) -> Result<(), ClientError> {
        let body = wire::encode(&self.socket, node)?;
        self.put("/v1/node", body).await
    }

    /// `PUT /v1/vms/{uid}`: what the VM may ask for from now on, and nothing else.
    pub async fn put_vm(&self, uid: &str, vm: &Vm) -> Result<(), ClientError> {
        // It has keys in it: the bytes are wiped when they are sent.
        let body = serde_json::to_vec(vm).map_err(|error| wire::protocol(&self.socket, &error))?;
        let body = Bytes::from_owner(Zeroizing::new(body));
        self.put(&format!("/v1/vms/{uid}"), body).await
    }

    /// `DELETE /v1/vms/{uid}`: the VM may ask for nothing any more. Yields what it has used;
    /// `None` where it had no rules.
    pub async fn delete_vm(&self, uid: &str) -> Result<Option<Usage>, ClientError> {
        let path = format!("/v1/vms/{uid}");
        let body = Bytes::new();
        wire::send(&self.socket, Method::DELETE, &path, body, ANSWER_WITHIN)
            .await?
            .optional_json()
    }

    /// `GET /v1/vms`: what each VM that has rules there has used.
    pub async fn vms(&self) -> Result<Vms, ClientError> {
        self.get("/v1/vms", ANSWER_WITHIN).await?.json()
    }

    /// `GET /v1/reports`: denials after number `since`, waiting at most `wait` for one.
    ///
    /// It fails as soon as the gateway ends, so it tells of that as well.
    pub async fn reports(&self, since: u64, wait: Duration) -> Result<Reports, ClientError> {
        let path = format!("/v1/reports?since={since}&waitMs={}", wait.as_millis());
        self.get(&path, ANSWER_WITHIN + wait).await?.json()
    }

    async fn get(&self, path: &str, within: Duration) -> Result<Answer, ClientError> {
        wire::send(&self.socket, Method::GET, path, Bytes::new(), within).await
    }

    async fn put(&self, path: &str, body: Bytes) -> Result<(), ClientError> {
        let answer = wire::send(&self.socket, Method::PUT, path, body, ANSWER_WITHIN).await?;
        answer.bytes().map(drop)
    }
}
