//! One HTTP/1.1 connection to a host, and the task that drives it.

use std::net::SocketAddr;

use agentvm_policy::budget;
use agentvm_policy::egress::{Admitted, Code, Request};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::{AbortHandle, JoinHandle};

use crate::body::Outgoing;
use crate::connect::{Stream, Tls, connect};

/// A connection; dropping it closes it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: http1::SendRequest<Outgoing>,
    address: SocketAddr,
    task: Task,
}

#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Connects to one of `addresses` for `request`; `buffer` bytes may wait each way.
    pub(crate) async fn open(
        tls: &Tls,
        request: &Request,
        addresses: &[Admitted],
        buffer: usize,
    ) -> Result<Self, Code> {
        let (stream, address) = connect(tls, request.scheme, &request.host, addresses).await?;
        Self::over(stream, address, buffer).await
    }

    /// Speaks by `stream`, at whose other end is `address`.
    pub(crate) async fn over(
        stream: Box<dyn Stream>,
        address: SocketAddr,
        buffer: usize,
    ) -> Result<Self, Code> {
        let (sender, connection) = http1::Builder::new()
            .max_headers(budget::HEADERS.usize())
            .max_buf_size(buffer)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_broke_off| Code::Protocol)?;
        let driving = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(Self {
            sender,
            address,
            task: Task(driving),
        })
    }

    /// The address at its other end.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it from elsewhere.
    pub(crate) fn ends_by(&self) -> AbortHandle {
        self.task.0.abort_handle()
    }
}
