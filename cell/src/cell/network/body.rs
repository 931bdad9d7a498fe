//! Bodies of one exchange: paid for by the byte, and given up together.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use agentvm_runtime::Body as GuestBody;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::{DropGuard, WaitForCancellationFutureOwned};

use super::channel::code_of;
use super::exchange::Flight;
use super::tariff;

/// What a guest sends.
pub(super) struct Outgoing {
    inner: GuestBody,
    flight: Arc<Flight>,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Outgoing {
    pub(super) fn new(inner: GuestBody, flight: Arc<Flight>) -> Self {
        let given_up = Box::pin(flight.given_up().cancelled_owned());
        Self {
            inner,
            flight,
            given_up,
        }
    }
}

/// A request of which nobody waits for the answer any more.
#[derive(Debug, thiserror::Error)]
#[error("the request ended early: {0}")]
pub(super) struct Ended(Code);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Ended;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Ended>>> {
        let this = &mut *self;
        if this.given_up.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Ended(Code::Internal))));
        }
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            this.flight.charge(frame);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Ended)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What a host answers. Dropping it gives the whole exchange up.
pub(super) struct Answered {
    inner: Incoming,
    flight: Arc<Flight>,
    /// Whether it came to its end.
    ended: bool,
    _give_up: DropGuard,
}

impl Answered {
    pub(super) fn new(inner: Incoming, flight: Arc<Flight>, give_up: DropGuard) -> Self {
        Self {
            ended: inner.is_end_stream(),
            inner,
            flight,
            _give_up: give_up,
        }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = Code;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Code>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                this.flight.charge(&frame);
                Some(Ok(without_own(frame)))
            }
            Some(Err(error)) => {
                this.ended = true;
                Some(Err(code_of(&error)))
            }
            None => {
                this.ended = true;
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        // What had come and was not read was work as well; it is no more than a window.
        if !self.ended {
            self.flight.pay(tariff::bytes(budget::STREAM_BYTES.usize()));
        }
    }
}

/// Trailers hold nothing of ours either.
fn without_own(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            super::headers::remove_own(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
