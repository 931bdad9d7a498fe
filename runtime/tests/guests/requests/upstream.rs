//! A server on this machine, and what carries requests to it and counts them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use agentvm_policy::egress::Code;
use agentvm_runtime::{Answer, Body, Egress};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

/// A server that lives as long as the runtime of the test.
pub(crate) struct Upstream {
    address: SocketAddr,
    seen: Seen,
}

/// What the server has seen.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    asked: Arc<AtomicUsize>,
    /// Exchanges whose end was not the guest's or the server's.
    broken: Arc<AtomicUsize>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Seen::default();
        let counts = seen.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, counts.clone()));
            }
        });
        Self { address, seen }
    }

    /// Carries requests to this server, whatever host they name.
    pub(crate) fn way(&self) -> Arc<dyn Egress> {
        Arc::new(Direct(self.address))
    }

    pub(crate) fn asked(&self) -> usize {
        self.seen.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn broken(&self) -> usize {
        self.seen.broken.load(Ordering::SeqCst)
    }
}

/// Carries requests to where nobody listens.
pub(crate) fn nowhere() -> Arc<dyn Egress> {
    Arc::new(Direct(SocketAddr::from(([127, 0, 0, 1], 1))))
}

async fn serve(stream: TcpStream, seen: Seen) {
    let counts = seen.clone();
    let service = service_fn(move |request| answer(request, counts.clone()));
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if served.is_err() {
        seen.broken.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts an exchange that is dropped before it was answered.
struct Unanswered(Seen);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.broken.fetch_add(1, Ordering::SeqCst);
    }
}

type Reply = http_body_util::combinators::UnsyncBoxBody<Bytes, hyper::Error>;

async fn answer(request: Request<Incoming>, seen: Seen) -> Result<Response<Reply>, Infallible> {
    seen.asked.fetch_add(1, Ordering::SeqCst);
    let full = |text: String| Full::new(Bytes::from(text)).map_err(never).boxed_unsync();
    let request_path = request.uri().path().to_owned();
    let reply = match request_path.as_str() {
        "/echo" => request.into_body().boxed_unsync(),
        "/headers" => full(format!("{:?}", request.headers())),
        "/never" => {
            let _unanswered = Unanswered(seen);
            std::future::pending().await
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            full("slow".to_owned())
        }
        "/endless" => endless(),
        "/stalls" => stalls(seen),
        "/ignores" => Empty::new().map_err(never).boxed_unsync(),
        "/trailers" => trailers(),
        path => full(format!("{} {path}", request.method())),
    };
    let mut response = Response::new(reply);
    if request_path == "/redirect" {
        *response.status_mut() = http::StatusCode::FOUND;
        let to = http::HeaderValue::from_static("/hello");
        response.headers_mut().insert(http::header::LOCATION, to);
    }
    let header = http::HeaderValue::from_static("yes");
    response.headers_mut().insert("x-upstream", header);
    let trailer = http::HeaderValue::from_static("x-sum");
    response.headers_mut().insert("trailer", trailer);
    Ok(response)
}

fn never(infallible: Infallible) -> hyper::Error {
    match infallible {}
}

fn streamed(pieces: mpsc::Receiver<Frame<Bytes>>) -> Reply {
    let next = futures_unfold(pieces);
    StreamBody::new(next).boxed_unsync()
}

fn futures_unfold(
    pieces: mpsc::Receiver<Frame<Bytes>>,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, hyper::Error>> + Send {
    futures::stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((Ok(piece), pieces))
    })
}

/// Bytes without an end.
fn endless() -> Reply {
    let (send, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let piece = Bytes::from(vec![b'x'; 64 << 10]);
        while send.send(Frame::data(piece.clone())).await.is_ok() {}
    });
    streamed(pieces)
}

/// One piece, and then nothing.
fn stalls(seen: Seen) -> Reply {
    let (send, pieces) = mpsc::channel(1);
    tokio::spawn(async move {
        let _unanswered = Unanswered(seen);
        let _sent = send.send(Frame::data(Bytes::from_static(b"one"))).await;
        send.closed().await;
    });
    streamed(pieces)
}

fn trailers() -> Reply {
    let (send, pieces) = mpsc::channel(2);
    let mut trailers = http::HeaderMap::new();
    trailers.insert("x-sum", http::HeaderValue::from_static("7"));
    send.try_send(Frame::data(Bytes::from_static(b"body")))
        .unwrap();
    send.try_send(Frame::trailers(trailers)).unwrap();
    streamed(pieces)
}

/// Sends every request to one address by a connection of its own.
struct Direct(SocketAddr);

impl Egress for Direct {
    fn send(&self, request: Request<Body>) -> Answer {
        let (send, answer) = oneshot::channel();
        let work = exchange(self.0, request);
        let task = AbortOnDrop(tokio::spawn(async move {
            let _unwanted = send.send(work.await);
        }));
        Box::pin(async move {
            let answer = answer.await.unwrap_or(Err(Code::Internal));
            drop(task);
            answer
        })
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange(to: SocketAddr, request: Request<Body>) -> Result<Response<Body>, Code> {
    let refused = |_| Code::ConnectionRefused;
    let stream = TcpStream::connect(to).await.map_err(refused)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .or(Err(Code::Protocol))?;
    tokio::spawn(connection);
    let (mut parts, body) = request.into_parts();
    let host = parts.uri.authority().unwrap().as_str().parse().unwrap();
    parts.headers.insert(http::header::HOST, host);
    let te = http::HeaderValue::from_static("trailers");
    parts.headers.insert(http::header::TE, te);
    parts.uri = parts.uri.path().parse().unwrap();
    let body = body.map_err(Code::as_str);
    let sent = sender.send_request(Request::from_parts(parts, body)).await;
    let answer = sent.or(Err(Code::Protocol))?;
    Ok(answer.map(|body| body.map_err(|_| Code::Protocol).boxed_unsync()))
}
