//! Bodies on their way: each keeps the place of its exchange.

use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use agentvm_policy::egress::Code;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use super::slot::{Carried, Held};

type Piece = Option<Result<Frame<Bytes>, Code>>;

/// The body of a request, as it is given to whoever carries it.
pub(super) struct Sent {
    body: UnsyncBoxBody<Bytes, Code>,
    _carried: Arc<Carried>,
}

impl Sent {
    pub(super) fn new(body: UnsyncBoxBody<Bytes, Code>, carried: Arc<Carried>) -> Self {
        Self {
            body,
            _carried: carried,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Code;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Piece> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The places that the body of an answer keeps.
pub(super) struct Kept {
    _held: Option<Held>,
    _carried: Arc<Carried>,
}

impl Kept {
    pub(super) fn new(held: Option<Held>, carried: Arc<Carried>) -> Self {
        Self {
            _held: held,
            _carried: carried,
        }
    }
}

/// The body of an answer, which fails where a piece does not come in time.
pub(super) struct Received {
    body: UnsyncBoxBody<Bytes, Code>,
    _kept: Kept,
    idle: Option<Idle>,
}

/// How long the next piece may take, and when that is over.
struct Idle {
    most: Duration,
    over: Pin<Box<Sleep>>,
}

impl Received {
    pub(super) fn new(
        body: UnsyncBoxBody<Bytes, Code>,
        kept: Kept,
        idle: Option<Duration>,
    ) -> Self {
        Self {
            body,
            _kept: kept,
            idle: idle.map(|most| Idle {
                most,
                over: Box::pin(sleep(most)),
            }),
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = Code;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Piece> {
        let this = &mut *self;
        if let Poll::Ready(piece) = Pin::new(&mut this.body).poll_frame(context) {
            if let Some(idle) = &mut this.idle {
                idle.over.as_mut().reset(Instant::now() + idle.most);
            }
            return Poll::Ready(piece);
        }
        let Some(idle) = &mut this.idle else {
            return Poll::Pending;
        };
        ready!(idle.over.as_mut().poll(context));
        Poll::Ready(Some(Err(Code::ResponseTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
