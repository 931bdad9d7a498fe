//! Whoever asks: directly, by a proxy, or as a cell does, by the gateway's channel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use agentvm_cell_api::gateway::VM_HEADER;
use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::upstream::{HOST, LARGE, SMALL};

type Sender = http1::SendRequest<Empty<Bytes>>;

/// One way to ask.
#[derive(Clone, Debug)]
pub(super) enum Client {
    /// By HTTP/1.1 to an address, by connections that are kept where they stay open.
    Http1 {
        address: SocketAddr,
        /// Whether it is a proxy, which is told the whole URL.
        is_proxy: bool,
        idle: Arc<Mutex<Vec<Sender>>>,
    },
    /// By the gateway's channel, as one VM.
    Channel {
        sender: http2::SendRequest<Empty<Bytes>>,
        uid: String,
    },
}

impl Client {
    /// To the host itself.
    pub(super) fn direct() -> Self {
        Self::of((HOST, 80).into(), false)
    }

    /// By the proxy at `address`.
    pub(super) fn by_proxy(address: SocketAddr) -> Self {
        Self::of(address, true)
    }

    fn of(address: SocketAddr, is_proxy: bool) -> Self {
        Self::Http1 {
            address,
            is_proxy,
            idle: Arc::default(),
        }
    }

    /// Asks for the small answer, and reads it.
    pub(super) async fn small(&self) -> Result<()> {
        ensure!(self.read(SMALL).await? == 15, "the small answer is another");
        Ok(())
    }

    /// Asks for the large answer, and reads it; its bytes.
    pub(super) async fn large(&self) -> Result<usize> {
        self.read(LARGE).await
    }

    /// Asks `requests` times for the small answer, `at_once` at a time.
    pub(super) async fn many(&self, requests: usize, at_once: usize) -> Result<()> {
        let left = Arc::new(AtomicUsize::new(requests));
        let mut all = JoinSet::new();
        for _ in 0..at_once {
            let (client, left) = (self.clone(), left.clone());
            all.spawn(async move {
                let one_less = |left: usize| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
                    .is_ok()
                {
                    client.small().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(one) = all.join_next().await {
            one??;
        }
        Ok(())
    }

    async fn read(&self, path: &str) -> Result<usize> {
        match self {
            Self::Http1 {
                address,
                is_proxy,
                idle,
            } => {
                let target = if *is_proxy {
                    format!("http://{HOST}{path}")
                } else {
                    path.to_owned()
                };
                let kept = idle.lock().await.pop();
                if let Some(mut kept) = kept
                    && let Ok(answer) = get(&mut kept, &target).await
                {
                    let bytes = bytes_of(answer).await?;
                    idle.lock().await.push(kept);
                    return Ok(bytes);
                }
                // There was none, or the other end has closed it meanwhile.
                let mut sender = connect(*address).await?;
                let bytes = bytes_of(get(&mut sender, &target).await?).await?;
                idle.lock().await.push(sender);
                Ok(bytes)
            }
            Self::Channel { sender, uid } => bytes_of(ask(sender, uid, path).await?).await,
        }
    }
}

/// Asks for `path` as the VM `uid`, by a channel.
pub(super) async fn ask(
    sender: &http2::SendRequest<Empty<Bytes>>,
    uid: &str,
    path: &str,
) -> Result<Response<Incoming>> {
    let request = Request::get(format!("http://{HOST}{path}")).header(VM_HEADER, uid);
    Ok(sender
        .clone()
        .send_request(request.body(Empty::new())?)
        .await?)
}

async fn connect(address: SocketAddr) -> Result<Sender> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.ready().await?;
    Ok(sender)
}

async fn get(sender: &mut Sender, target: &str) -> Result<Response<Incoming>> {
    sender.ready().await?;
    let request = Request::get(target).header("host", HOST.to_string());
    Ok(sender.send_request(request.body(Empty::new())?).await?)
}

async fn bytes_of(answer: Response<Incoming>) -> Result<usize> {
    ensure!(answer.status() == 200, "{answer:?}");
    let (mut body, mut bytes) = (answer.into_body(), 0);
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}
