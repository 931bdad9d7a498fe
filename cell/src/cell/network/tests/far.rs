//! The far end of a cell's channel: a warden that gives channels, and a gateway that answers what the
//! path of a request says.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER};
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::control::{self, Answer, FromCell, Outcome, ToCell};

/// A body without an end.
type Endless = UnsyncBoxBody<Bytes, Infallible>;

/// The warden and the gateway of a test.
pub(super) struct Far {
    /// Channels that were given.
    pub(super) channels: AtomicUsize,
    /// The gateway's ends, by which they are cut.
    serving: Mutex<Vec<JoinHandle<()>>>,
    /// What the warden refuses channels with.
    pub(super) refusal: Mutex<Option<Reason>>,
    /// Requests for which nothing comes.
    pub(super) hanging: AtomicUsize,
    /// Those of them that the cell gave up.
    pub(super) given_up: AtomicUsize,
}

pub(super) async fn warden(channel: control::Channel, far: Arc<Far>) {
    while let Ok(Some((FromCell::Request { id, .. }, _))) = channel.receive().await {
        let (near, other) = StdStream::pair().unwrap();
        let outcome = match *far.refusal.lock().unwrap() {
            Some(reason) => Outcome::Refused(Problem {
                reason,
                message: "not here".to_owned(),
            }),
            None => Outcome::Gateway,
        };
        if matches!(outcome, Outcome::Gateway) {
            far.channels.fetch_add(1, Ordering::SeqCst);
            far.serve(other);
        }
        let answer = ToCell::Answer(Answer { id, outcome });
        channel.send(&answer, &[near.as_fd()]).await.unwrap();
    }
}

impl Far {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            channels: AtomicUsize::new(0),
            serving: Mutex::default(),
            refusal: Mutex::default(),
            hanging: AtomicUsize::new(0),
            given_up: AtomicUsize::new(0),
        })
    }

    fn serve(self: &Arc<Self>, stream: StdStream) {
        stream.set_nonblocking(true).unwrap();
        let stream = UnixStream::from_std(stream).unwrap();
        let far = self.clone();
        let service = service_fn(move |request| {
            let far = far.clone();
            async move { Ok::<_, Infallible>(far.answer(request).await) }
        });
        let serving = tokio::spawn(async move {
            let _cut = http2::Builder::new(TokioExecutor::new())
                .initial_stream_window_size(budget::STREAM_BYTES.u32())
                .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
                .max_pending_accept_reset_streams(budget::CHANNEL_STREAMS.usize())
                .max_concurrent_streams(budget::CHANNEL_STREAMS.u32())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
        self.serving.lock().unwrap().push(serving);
    }

    /// Answers as the path says.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Endless> {
        let vm = request.headers()[VM_HEADER].clone();
        let answer = Response::builder().header("x-vm", vm);
        match request.uri().path() {
            "/echo" => answer.body(body(
                request.into_body().collect().await.unwrap().to_bytes(),
            )),
            "/hangs" => {
                self.hanging.fetch_add(1, Ordering::SeqCst);
                let _counted = CountedEnd(self);
                std::future::pending().await
            }
            "/endless" => {
                let chunk = || Ok(Frame::data(Bytes::from(vec![b'x'; 16 << 10])));
                let chunks = futures::stream::repeat_with(chunk);
                answer.body(StreamBody::new(chunks).boxed_unsync())
            }
            "/denied" => answer
                .header(ERROR_HEADER, Code::Denied.as_str())
                .body(body(Bytes::new())),
            _ => answer.body(body(Bytes::from_static(b"fine"))),
        }
        .unwrap()
    }

    /// Every channel breaks, as when the gateway is killed.
    pub(super) fn cut(&self) {
        for serving in self.serving.lock().unwrap().drain(..) {
            serving.abort();
        }
    }
}

struct CountedEnd(Arc<Far>);

impl Drop for CountedEnd {
    fn drop(&mut self) {
        self.0.given_up.fetch_add(1, Ordering::SeqCst);
    }
}

fn body(bytes: Bytes) -> Endless {
    Full::new(bytes).boxed_unsync()
}
