//! Bodies on their way: bounded in size, in time between two pieces, and with keys covered.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::limits::Limits;
use crate::mask::{Masker, Patterns};
use crate::vm::Vm;
use agentvm_policy::egress::Code;

/// Why a body ends early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Stopped(pub Code);

/// Who counts the bytes of a body besides the body itself.
type Counted = Option<Arc<Vm>>;

/// A body within its bounds.
#[derive(Debug)]
pub struct Bounded<B> {
    inner: Pin<Box<B>>,
    left: u64,
    too_large: Code,
    counted: Counted,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    masker: Option<Masker>,
}

impl<B> Bounded<B> {
    /// The body of a request, whose bytes count against what its VM may send.
    pub(crate) fn request(inner: B, vm: &Arc<Vm>, limits: &Limits) -> Self {
        Self {
            inner: Box::pin(inner),
            left: limits.request_bytes,
            too_large: Code::RequestBodySize,
            counted: Some(vm.clone()),
            idle: limits.idle,
            timer: Box::pin(sleep(limits.idle)),
            masker: None,
        }
    }

    /// The body of an answer, in which `patterns` are covered.
    pub(crate) fn response(inner: B, limits: &Limits, patterns: Patterns) -> Self {
        Self {
            inner: Box::pin(inner),
            left: limits.response_bytes,
            too_large: Code::ResponseBodySize,
            counted: None,
            idle: limits.idle,
            timer: Box::pin(sleep(limits.idle)),
            masker: (!patterns.is_empty()).then(|| Masker::new(patterns)),
        }
    }

    fn admit(&mut self, data: &Bytes) -> Result<(), Stopped> {
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let left = self.left.checked_sub(bytes);
        self.left = left.ok_or(Stopped(self.too_large))?;
        match &self.counted {
            Some(vm) if !vm.send(bytes) => Err(Stopped(self.too_large)),
            Some(_) | None => Ok(()),
        }
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
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = Stopped;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Stopped>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = this.inner.as_mut().poll_frame(cx) else {
            ready!(this.timer.as_mut().poll(cx));
            return Poll::Ready(Some(Err(Stopped(Code::ResponseTimeout))));
        };
        this.timer.as_mut().reset(Instant::now() + this.idle);
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let admitted = frame.data_ref().map_or(Ok(()), |data| this.admit(data));
                Some(admitted.map(|()| this.covered(frame)))
            }
            Some(Err(_broke_off)) => Some(Err(Stopped(Code::Protocol))),
            None => {
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
