//! Bodies on their way: bounded in size, in rate and in time, and with keys covered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderMap;
use http_body_util::{Either, Empty};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::guards::{Guard, is_on};
use crate::mask::{Masker, Patterns};
use crate::pool::{Purpose, Room};
use agentvm_policy::egress::Code;

/// The body of a request as it is sent.
pub type Outgoing = Bounded<Either<Incoming, Empty<Bytes>>>;
/// The body of an answer as it is handed on.
pub type HandedOn = Bounded<Incoming>;

/// Why a body ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub Code);

/// What becomes of a connection after an answer.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    pub(crate) purpose: Purpose,
    pub(crate) room: Room,
}

/// Which way a body goes.
#[derive(Debug)]
enum Way {
    Sent,
    Received(Option<Lease>),
}

/// A body within its bounds.
#[derive(Debug)]
pub struct Bounded<B> {
    inner: B,
    way: Way,
    exchange: Arc<Exchange>,
    left: u64,
    /// Ends what is idle, or ends a wait for the VM's rate.
    timer: Pin<Box<Sleep>>,
    waits_since: Option<Instant>,
    masker: Option<Masker>,
    /// Everything has come, and nothing was wrong with it.
    is_whole: bool,
}

impl Outgoing {
    /// The body of a request, whose bytes count against what its VM may send.
    pub(crate) fn request(inner: Either<Incoming, Empty<Bytes>>, exchange: &Arc<Exchange>) -> Self {
        let left = exchange.limits().request_bytes;
        let mut body = Self::new(inner, Way::Sent, exchange, left);
        body.look_for_end();
        body
    }

    /// Whether there is no body at all.
    pub(crate) const fn is_empty(&self) -> bool {
        matches!(self.inner, Either::Right(_))
    }
}

impl HandedOn {
    /// The body of an answer, in which `patterns` are covered. The connection that it comes by is
    /// used again if it ends as it should.
    pub(crate) fn response(
        inner: Incoming,
        exchange: &Arc<Exchange>,
        lease: Lease,
        patterns: Patterns,
    ) -> Self {
        let left = exchange.limits().response_bytes;
        let mut body = Self::new(inner, Way::Received(Some(lease)), exchange, left);
        body.masker = (!patterns.is_empty()).then(|| Masker::new(patterns));
        body.look_for_end();
        body
    }
}

impl<B> Bounded<B> {
    fn new(inner: B, way: Way, exchange: &Arc<Exchange>, left: u64) -> Self {
        let idle = Instant::now() + exchange.limits().idle;
        Self {
            inner,
            way,
            exchange: exchange.clone(),
            left,
            timer: Box::pin(sleep_until(idle)),
            waits_since: None,
            masker: None,
            is_whole: false,
        }
    }

    fn set_whole(&mut self) {
        self.is_whole = true;
        if matches!(self.way, Way::Sent) {
            self.exchange.set_sent();
        }
    }

    /// Counts what has come, and takes its part of the VM's rate.
    fn admit(&mut self, data: &Bytes, now: Instant) -> Result<(), Stopped> {
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let left = self.left.checked_sub(bytes);
        let (too_large, counted) = match self.way {
            Way::Sent => (
                Code::RequestBodySize,
                left.is_some() && self.exchange.send(bytes),
            ),
            Way::Received(_) => {
                self.exchange.receive(bytes);
                (Code::ResponseBodySize, true)
            }
        };
        self.exchange.vm().take(bytes, now);
        match left.filter(|_| counted) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(self.stopped(too_large)),
        }
    }

    /// Ends the body, for the first reason that there was.
    fn stopped(&mut self, code: Code) -> Stopped {
        self.is_whole = false;
        Stopped(self.exchange.fail(code.into()).code())
    }

    fn covered(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(masker) = &mut self.masker else {
            return frame;
        };
        match frame.into_data() {
            Ok(data) => Frame::data(masker.push(&data).into()),
            Err(frame) => match frame.into_trailers() {
                Ok(mut trailers) => {
                    cover(masker.patterns(), &mut trailers);
                    Frame::trailers(trailers)
                }
                Err(other) => other,
            },
        }
    }

    /// Waits until the VM is no longer ahead of its rate.
    fn poll_rate(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(since) = self.waits_since {
                ready!(self.timer.as_mut().poll(cx));
                let now = Instant::now();
                self.exchange.throttle(now.duration_since(since));
                self.waits_since = None;
                self.timer.as_mut().reset(now + self.exchange.limits().idle);
            }
            let now = Instant::now();
            let Some(until) = self.exchange.vm().waits_until(now) else {
                return Poll::Ready(());
            };
            self.waits_since = Some(now);
            self.timer.as_mut().reset(until);
        }
    }
}

impl<B: Body> Bounded<B> {
    fn look_for_end(&mut self) {
        if self.inner.is_end_stream() || self.inner.size_hint().exact() == Some(0) {
            self.set_whole();
        }
    }
}

/// Covers keys in the values of headers.
pub(crate) fn cover(patterns: &Patterns, headers: &mut HeaderMap) {
    if patterns.is_empty() {
        return;
    }
    for value in headers.values_mut() {
        let covered = patterns.cover(value.as_bytes());
        if let Ok(covered) = HeaderValue::from_bytes(&covered) {
            *value = covered;
        }
    }
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let this = &mut *self;
        ready!(this.poll_rate(cx));
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            ready!(this.timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(this.stopped(Code::ResponseTimeout))));
        };
        let now = Instant::now();
        this.timer.as_mut().reset(now + this.exchange.limits().idle);
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                this.look_for_end();
                let admitted = frame
                    .data_ref()
                    .map_or(Ok(()), |data| this.admit(data, now));
                Some(admitted.map(|()| this.covered(frame)))
            }
            Some(Err(_broke_off)) => Some(Err(this.stopped(Code::Protocol))),
            None => {
                this.set_whole();
                let Some(mut masker) = this.masker.take() else {
                    return Poll::Ready(None);
                };
                let rest = masker.finish();
                (!rest.is_empty()).then(|| Ok(Frame::data(rest.into())))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.masker.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // A cover is as long as what it covers.
        self.inner.size_hint()
    }
}

impl<B> Drop for Bounded<B> {
    fn drop(&mut self) {
        // A connection is used again only if both messages on it are whole: else the next request
        // could be taken for the rest of this one, or this answer for the next one's.
        if let Way::Received(lease) = &mut self.way
            && let Some(lease) = lease.take()
            && (self.is_whole && self.exchange.is_sent() || !is_on(Guard::WholeMessages))
        {
            self.exchange.vm().keep(lease);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use agentvm_policy::egress::{AddressRules, Request as Canonical, Rule, RuleText, Rules};
    use http::{Request, Response};
    use http_body_util::StreamBody;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;
    use crate::guards::switch_off;
    use crate::vm::{Terms, Vm};

    const ADDRESS: &str = "93.184.0.1:443";

    fn purpose() -> Purpose {
        let rule = Rule::parse(&RuleText::new("api.heron.example", &["*"], &["*"])).unwrap();
        let request = Canonical::of_url("POST", "https://api.heron.example/").unwrap();
        Purpose::new(&Rules::new(vec![rule]).permit(request).unwrap(), 0)
    }

    /// A body as it comes by a channel, and what its guest sends it by.
    async fn upload() -> (Incoming, futures::channel::mpsc::UnboundedSender<Bytes>) {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (body_tx, body_rx) = futures::channel::mpsc::unbounded::<Bytes>();
        let (request_tx, mut request_rx) = mpsc::unbounded_channel();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let sent = request_tx.send(request.into_body());
            async move {
                assert!(sent.is_ok());
                std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
            }
        });
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(theirs), service));
        let executor = TokioExecutor::new();
        let client = hyper::client::conn::http2::handshake(executor, TokioIo::new(ours));
        let (mut sender, connection) = client.await.unwrap();
        tokio::spawn(connection);
        let frames =
            futures::StreamExt::map(body_rx, |piece| Ok::<_, Infallible>(Frame::data(piece)));
        let request = Request::post("https://api.heron.example/")
            .header("content-length", "8")
            .body(StreamBody::new(frames));
        tokio::spawn(sender.send_request(request.unwrap()));
        (request_rx.recv().await.unwrap(), body_tx)
    }

    /// A host that answers before it has the whole request; whether its connection is used again
    /// once the guest has sent the rest.
    async fn is_used_again(end: impl FnOnce(HandedOn)) -> bool {
        let vm = Vm::new(Terms::default());
        let exchange = Exchange::begin(&vm);
        let (ours, mut host) = tokio::io::duplex(64 << 10);
        let mut connection = Connection::over(Box::new(ours), ADDRESS.parse().unwrap(), 8 << 10)
            .await
            .unwrap();
        let (body, body_tx) = upload().await;
        body_tx.unbounded_send(Bytes::from("half")).unwrap();
        let body = Outgoing::request(Either::Left(body), &exchange);
        let request = Request::post("/").header("host", "api.heron.example");
        let request = request.header("content-length", "8").body(body).unwrap();
        let answering = async {
            let mut came = Vec::new();
            while !came.ends_with(b"half") {
                host.read_buf(&mut came).await.unwrap();
            }
            let early = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
            host.write_all(early).await.unwrap();
        };
        let (answer, ()) = tokio::join!(connection.sender.send_request(request), answering);
        let lease = Lease {
            connection,
            purpose: purpose(),
            room: Room::default(),
        };
        let answer = answer.unwrap().into_body();
        end(HandedOn::response(
            answer,
            &exchange,
            lease,
            Patterns::default(),
        ));
        body_tx.unbounded_send(Bytes::from("rest")).unwrap();
        let mut rest = [0; 4];
        // Where the connection was closed there is nobody who could send it.
        let _closed = host.read_exact(&mut rest).await;
        let admitted = AddressRules::default().admit(ADDRESS.parse().unwrap());
        let admitted = [admitted.unwrap()];
        for _ in 0..100 {
            if vm.pool().take(&purpose(), &admitted).is_some() {
                return true;
            }
            tokio::task::yield_now().await;
        }
        false
    }

    #[tokio::test]
    async fn f18_a_connection_whose_request_was_not_whole_is_not_used_again() {
        assert!(!is_used_again(drop).await);
        assert!(is_used_again(|answer| switch_off(Guard::WholeMessages, || drop(answer))).await);
    }
}
