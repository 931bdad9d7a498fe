//! One request and its answer, as far as they have come.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use agentvm_policy::egress::Code;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body as _, Frame};
use wasmtime_wasi::runtime::AbortOnDropJoinHandle;

use super::pipe::{Closed, Writer};
use crate::egress::{Body, Held};
use crate::preview1::errno::{Answer as Done, Errno};

/// The task that waits for the answer.
type Pending = AbortOnDropJoinHandle<Result<http::Response<Body>, Code>>;

/// What one descriptor stands for. Dropping it gives the exchange up.
pub(in crate::preview1) struct Exchange {
    /// Calls that would wait answer AGAIN.
    pub(in crate::preview1) nonblocking: bool,
    request: Writer,
    answer: Answer,
    _held: Held,
}

enum Answer {
    Pending(Pending),
    Come(Box<Come>),
    Failed(Code),
}

/// An answer of which the headers are there.
struct Come {
    status: StatusCode,
    headers: HeaderMap,
    /// The guest knows of it, so that it now waits for the body.
    told: bool,
    body: Reading,
    /// What is there of the body and was not read yet.
    piece: Bytes,
    trailers: HeaderMap,
}

enum Reading {
    Open(Body),
    Ended,
    Failed(Code),
}

impl Exchange {
    pub(super) fn new(request: Writer, answer: Pending, held: Held) -> Self {
        Self {
            nonblocking: false,
            request,
            answer: Answer::Pending(answer),
            _held: held,
        }
    }

    /// Ready where a read would not wait, with the bytes that it finds.
    pub(in crate::preview1) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        ready!(self.poll_head(context));
        match &mut self.answer {
            Answer::Come(come) if come.told => come.poll_piece(context),
            Answer::Come(_) | Answer::Failed(_) | Answer::Pending(_) => Poll::Ready(0),
        }
    }

    /// As [`Self::poll_read`], of a guest that reads whatever the headers say.
    pub(super) fn poll_read_on(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        ready!(self.poll_head(context));
        if let Answer::Come(come) = &mut self.answer {
            come.told = true;
        }
        self.poll_read(context)
    }

    /// Ready where the answer's headers are there, or never will be.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Answer::Pending(task) = &mut self.answer {
            self.answer = match ready!(Pin::new(task).poll(context)) {
                Ok(answer) => Answer::Come(Box::new(Come::new(answer))),
                Err(code) => Answer::Failed(code),
            };
        }
        Poll::Ready(())
    }

    /// Ready where a write would not wait, with the bytes that there is room for.
    pub(in crate::preview1) fn poll_write(&self, context: &Context<'_>) -> Poll<usize> {
        self.request.poll_room(context)
    }

    /// Whether [`Self::poll_read`] was ready when it was last asked, and with how many bytes.
    pub(in crate::preview1) fn readable(&self) -> Option<usize> {
        match &self.answer {
            Answer::Pending(_) => None,
            Answer::Come(come) if come.told && come.piece.is_empty() => match &come.body {
                Reading::Open(_) => None,
                Reading::Ended | Reading::Failed(_) => Some(0),
            },
            Answer::Come(come) => Some(come.piece.len()),
            Answer::Failed(_) => Some(0),
        }
    }

    /// Status and headers, which are there.
    pub(super) fn head(&mut self) -> Result<(StatusCode, &HeaderMap), Errno> {
        match &mut self.answer {
            Answer::Pending(_) => Err(Errno::AGAIN),
            Answer::Failed(_) => Err(Errno::IO),
            Answer::Come(come) => {
                come.told = true;
                Ok((come.status, &come.headers))
            }
        }
    }

    /// The next bytes of the answer's body, at most `most`; none at its end.
    pub(super) fn read(&mut self, most: usize) -> Result<Bytes, Errno> {
        let come = match &mut self.answer {
            Answer::Pending(_) => return Err(Errno::AGAIN),
            Answer::Failed(_) => return Err(Errno::IO),
            Answer::Come(come) => come,
        };
        come.told = true;
        if !come.piece.is_empty() {
            let there = come.piece.len();
            return Ok(come.piece.split_to(most.min(there)));
        }
        match come.body {
            Reading::Open(_) => Err(Errno::AGAIN),
            Reading::Ended => Ok(Bytes::new()),
            Reading::Failed(_) => Err(Errno::IO),
        }
    }

    /// Takes as much of `bytes` as there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.request.write(bytes).map_err(|closed| match closed {
            Closed::Full => Errno::AGAIN,
            Closed::Over => Errno::PIPE,
            Closed::TooLong => Errno::MSGSIZE,
        })
    }

    /// Ends the request's body.
    pub(super) fn finish(&mut self) -> Done {
        self.request.finish().then_some(()).ok_or(Errno::MSGSIZE)
    }

    /// The trailers, which come with the end of the body.
    pub(super) fn trailers(&self) -> Result<&HeaderMap, Errno> {
        match &self.answer {
            Answer::Pending(_) => Err(Errno::AGAIN),
            Answer::Failed(_) => Err(Errno::IO),
            Answer::Come(come) => match come.body {
                Reading::Open(_) => Err(Errno::AGAIN),
                Reading::Ended => Ok(&come.trailers),
                Reading::Failed(_) => Err(Errno::IO),
            },
        }
    }

    /// Why it failed, where it did.
    pub(super) fn failure(&self) -> Option<Code> {
        match &self.answer {
            Answer::Pending(_) => None,
            Answer::Failed(code) => Some(*code),
            Answer::Come(come) => match come.body {
                Reading::Open(_) | Reading::Ended => None,
                Reading::Failed(failed) => Some(failed),
            },
        }
    }
}

impl Come {
    fn new(answer: http::Response<Body>) -> Self {
        let (parts, body) = answer.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            told: false,
            body: Reading::Open(body),
            piece: Bytes::new(),
            trailers: HeaderMap::new(),
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        while self.piece.is_empty() {
            let Reading::Open(body) = &mut self.body else {
                break;
            };
            match ready!(Pin::new(body).poll_frame(context)) {
                Some(Ok(frame)) => self.take(frame),
                Some(Err(code)) => self.body = Reading::Failed(code),
                None => self.body = Reading::Ended,
            }
        }
        Poll::Ready(self.piece.len())
    }

    fn take(&mut self, frame: Frame<Bytes>) {
        match frame.into_data() {
            Ok(piece) => self.piece = piece,
            Err(frame) => {
                self.trailers = frame.into_trailers().unwrap_or_default();
                self.body = Reading::Ended;
            }
        }
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").finish_non_exhaustive()
    }
}
