//! One HTTP request over one Unix connection, and its answer read to the end.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::ClientError;
use crate::problem::{Problem, Reason};

/// The longest answer that is read: a cell is trusted less than its asker.
const MAX_ANSWER_BYTES: usize = agentvm_policy::budget::ANSWER_BYTES.usize();

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    socket: PathBuf,
    status: StatusCode,
    body: Bytes,
}

/// Encodes a request's body.
pub(super) fn encode(socket: &Path, body: &impl Serialize) -> Result<Bytes, ClientError> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| protocol(socket, &error))
}

/// Sends one request and reads its answer, all within `within`.
pub(super) async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: Bytes,
    within: Duration,
) -> Result<Answer, ClientError> {
    let read = |response| Answer::of(socket, response);
    let request = exchange(socket, method, path, Full::new(body), read);
    self::within(socket, within, request).await
}

/// A request's body that is none.
pub(super) fn no_body() -> Full<Bytes> {
    Full::default()
}

/// Bounds what a request and its answer may take together.
pub(super) async fn within<T>(
    socket: &Path,
    within: Duration,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, ClientError> {
    match tokio::time::timeout(within, request).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(ClientError::Unreachable {
            socket: socket.to_owned(),
            cause: format!("no answer within {} s", within.as_secs()),
        }),
    }
}

/// Sends one request, and has `read` take the answer.
pub(super) async fn exchange<B, T, F>(
    socket: &Path,
    method: Method,
    path: &str,
    body: B,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, ClientError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    F: Future<Output = Result<T, ClientError>>,
{
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| unreachable(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| unreachable(socket, &error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .map_err(|error| protocol(socket, &error))?;
    let answer = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| unreachable(socket, &error))?;
        read(response).await
    };
    // The connection is driven beside the request and dropped with it: no task is left behind.
    tokio::pin!(answer);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(unreachable(socket, &error)),
        },
    }
}

impl Answer {
    /// Reads an answer to its end.
    pub(super) async fn of(
        socket: &Path,
        response: Response<Incoming>,
    ) -> Result<Self, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| unreachable(socket, &*error))?
            .to_bytes();
        Ok(Self {
            socket: socket.to_owned(),
            status,
            body,
        })
    }

    /// The body of a success, decoded.
    pub(super) fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        let socket = self.socket.clone();
        let body = self.bytes()?;
        serde_json::from_slice(&body).map_err(|error| protocol(&socket, &error))
    }

    /// As [`Answer::json`], with "not found" as `None`.
    pub(super) fn optional_json<T: DeserializeOwned>(self) -> Result<Option<T>, ClientError> {
        match self.json() {
            Ok(found) => Ok(Some(found)),
            Err(ClientError::Problem(Problem {
                reason: Reason::NotFound,
                ..
            })) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The body of a success.
    pub(super) fn bytes(self) -> Result<Bytes, ClientError> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        match serde_json::from_slice::<Problem>(&self.body) {
            Ok(problem) => Err(problem.into()),
            Err(_not_a_problem) => Err(ClientError::Protocol {
                socket: self.socket,
                cause: format!("status {} without a problem in its body", self.status),
            }),
        }
    }

    /// A success whose body does not matter; "not found" is one.
    pub(super) fn nothing(self) -> Result<(), ClientError> {
        match self.bytes() {
            Ok(_body) => Ok(()),
            Err(ClientError::Problem(Problem {
                reason: Reason::NotFound,
                ..
            })) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn unreachable(socket: &Path, error: &(dyn std::error::Error + 'static)) -> ClientError {
    ClientError::Unreachable {
        socket: socket.to_owned(),
        cause: chain(error),
    }
}

pub(super) fn protocol(socket: &Path, error: &(dyn std::error::Error + 'static)) -> ClientError {
    ClientError::Protocol {
        socket: socket.to_owned(),
        cause: chain(error),
    }
}

/// The error and its causes in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
