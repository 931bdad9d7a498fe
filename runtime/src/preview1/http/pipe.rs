//! The body of a request between the guest that writes it and whoever carries it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use agentvm_policy::egress::Code;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// The most bytes that wait in it.
const MAX_HELD_BYTES: usize = agentvm_policy::budget::PIPE_BYTES.usize();

/// The two ends of a body, which has `length` bytes where that is known.
pub(super) fn pipe(length: Option<u64>) -> (Writer, Reader) {
    let shared = Arc::new(Mutex::new(Shared {
        held: BytesMut::new(),
        left: length,
        end: None,
        is_read: true,
        reader: None,
        writer: None,
    }));
    (Writer(Arc::clone(&shared)), Reader(shared))
}

struct Shared {
    held: BytesMut,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
    end: Option<End>,
    /// Somebody may still take what is written.
    is_read: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Finished,
    GivenUp,
}

impl Shared {
    fn room(&self) -> usize {
        MAX_HELD_BYTES.saturating_sub(self.held.len())
    }

    fn ends(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            wake(&mut self.reader);
        }
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why nothing can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// There is no room now.
    Full,
    /// It was finished, or nobody reads it any more.
    Over,
    /// It would be longer than its header says.
    TooLong,
}

/// The guest's end. Dropping it before it is finished breaks the body off.
pub(super) struct Writer(Arc<Mutex<Shared>>);

impl Writer {
    /// Takes as much of `bytes` as there is room for.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<usize, Closed> {
        let mut shared = lock(&self.0);
        if shared.end.is_some() || !shared.is_read {
            return Err(Closed::Over);
        }
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if shared.left.is_some_and(|left| left < length) {
            return Err(Closed::TooLong);
        }
        let taken = bytes.get(..shared.room()).unwrap_or(bytes);
        if taken.is_empty() && !bytes.is_empty() {
            return Err(Closed::Full);
        }
        shared.held.extend_from_slice(taken);
        let length = u64::try_from(taken.len()).unwrap_or(u64::MAX);
        shared.left = shared.left.map(|left| left.saturating_sub(length));
        wake(&mut shared.reader);
        Ok(taken.len())
    }

    /// Ends the body; false where it is shorter than its header says, which breaks it off.
    pub(super) fn finish(&self) -> bool {
        let mut shared = lock(&self.0);
        let whole = shared.left.is_none_or(|left| left == 0);
        shared.ends(if whole { End::Finished } else { End::GivenUp });
        whole
    }

    /// Ready where a write would not wait, because there is room or because it fails.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<usize> {
        let mut shared = lock(&self.0);
        let room = shared.room();
        if room > 0 || shared.end.is_some() || !shared.is_read {
            return Poll::Ready(room);
        }
        shared.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.0).ends(End::GivenUp);
    }
}

/// The end of whoever carries it.
pub(super) struct Reader(Arc<Mutex<Shared>>);

impl Body for Reader {
    type Data = Bytes;
    type Error = Code;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Code>>> {
        let mut shared = lock(&self.0);
        if !shared.held.is_empty() {
            let piece = std::mem::take(&mut shared.held).freeze();
            wake(&mut shared.writer);
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match shared.end {
            Some(End::Finished) => Poll::Ready(None),
            Some(End::GivenUp) => Poll::Ready(Some(Err(Code::Protocol))),
            None => {
                shared.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let shared = lock(&self.0);
        shared.held.is_empty() && shared.end == Some(End::Finished)
    }

    fn size_hint(&self) -> SizeHint {
        let shared = lock(&self.0);
        let held = u64::try_from(shared.held.len()).unwrap_or_default();
        let left = match shared.end {
            Some(_) => Some(0),
            None => shared.left,
        };
        match left {
            Some(left) => SizeHint::with_exact(held.saturating_add(left)),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shared = lock(&self.0);
        shared.is_read = false;
        shared.held = BytesMut::new();
        wake(&mut shared.writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(reader: &mut Reader) -> Poll<Option<Result<Vec<u8>, Code>>> {
        let polled = Pin::new(reader).poll_frame(&mut Context::from_waker(Waker::noop()));
        polled.map(|piece| piece.map(|piece| piece.map(|frame| frame.into_data().unwrap().into())))
    }

    fn has_room(writer: &Writer) -> bool {
        writer
            .poll_room(&Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn what_is_written_is_read_and_room_is_made_by_reading() {
        let (writer, mut reader) = pipe(None);
        assert!(next(&mut reader).is_pending());
        assert_eq!(writer.write(b"one "), Ok(4));
        assert_eq!(writer.write(b"two"), Ok(3));
        assert_eq!(
            next(&mut reader),
            Poll::Ready(Some(Ok(b"one two".to_vec())))
        );
        let much = vec![b'x'; MAX_HELD_BYTES + 1];
        assert_eq!(writer.write(&much), Ok(MAX_HELD_BYTES));
        assert_eq!(writer.write(b"y"), Err(Closed::Full));
        assert!(!has_room(&writer));
        assert!(next(&mut reader).is_ready() && has_room(&writer));
        assert!(writer.finish());
        assert_eq!(writer.write(b"y"), Err(Closed::Over));
        assert_eq!(next(&mut reader), Poll::Ready(None));
    }

    #[test]
    fn a_body_that_is_dropped_breaks_off_and_never_looks_whole() {
        let (writer, mut reader) = pipe(None);
        assert_eq!(writer.write(b"half"), Ok(4));
        drop(writer);
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(b"half".to_vec()))));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err(Code::Protocol))));
    }

    #[test]
    fn f18_a_body_is_as_long_as_its_header_says_or_breaks_off() {
        let (writer, mut reader) = pipe(Some(4));
        assert_eq!(reader.size_hint().exact(), Some(4));
        assert_eq!(writer.write(b"12345"), Err(Closed::TooLong));
        assert_eq!(writer.write(b"123"), Ok(3));
        assert!(!writer.finish());
        assert_eq!(next(&mut reader), Poll::Ready(Some(Ok(b"123".to_vec()))));
        assert_eq!(next(&mut reader), Poll::Ready(Some(Err(Code::Protocol))));
    }

    #[test]
    fn who_writes_learns_that_nobody_reads() {
        let (writer, reader) = pipe(None);
        assert_eq!(writer.write(&vec![0; MAX_HELD_BYTES]), Ok(MAX_HELD_BYTES));
        drop(reader);
        assert!(has_room(&writer));
        assert_eq!(writer.write(b"x"), Err(Closed::Over));
    }
}
