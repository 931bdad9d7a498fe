//! The streams of bodies: wasmtime's, paid for by the byte, and whose errors have a code.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::body::HostIncomingBodyStream;

use super::{Failed, code_of};
use crate::budget::Budget;
use crate::charge::fuel_for;
use crate::stdio::MAX_WRITE_BYTES;

/// Reads the body of an answer.
pub(super) struct Reader {
    pub(super) stream: HostIncomingBodyStream,
    pub(super) budget: Arc<Budget>,
}

impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.stream.read(size.min(MAX_WRITE_BYTES));
        let read = read.map_err(with_code)?;
        self.budget.fuel.owe(fuel_for(read.len()));
        Ok(read)
    }
}

/// What `http-error-code` finds the error's code in.
fn with_code(error: StreamError) -> StreamError {
    match error {
        StreamError::LastOperationFailed(error) => {
            let code = error.downcast_ref::<Error>().map(code_of);
            let failed = code.map_or(error, |code| Failed(code).into());
            StreamError::LastOperationFailed(failed)
        }
        StreamError::Closed | StreamError::Trap(_) => error,
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

/// Writes the body of a request.
pub(super) struct Writer {
    pub(super) stream: Box<dyn OutputStream>,
    pub(super) budget: Arc<Budget>,
}

impl OutputStream for Writer {
    /// Passes on what has bytes: an empty frame takes no window, so nothing would bound how many
    /// of them wait for whoever reads slowly.
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.budget.fuel.owe(fuel_for(bytes.len()));
        if bytes.is_empty() {
            return Ok(());
        }
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.stream.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.stream.check_write()
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};

    use super::*;

    #[tokio::test]
    async fn f27_writes_of_nothing_are_no_frames() {
        let (mut body, mut carried) =
            HostOutgoingBody::new(StreamContext::Request, None, 1, MAX_WRITE_BYTES);
        let mut writer = Writer {
            stream: body.take_output_stream().unwrap(),
            budget: Arc::new(Budget::new(1, 1 << 20, 1)),
        };
        for _ in 0..10_000 {
            writer.write(Bytes::new()).unwrap();
        }
        writer.write(Bytes::from_static(b"one")).unwrap();
        drop(writer);
        body.finish(None).unwrap();
        let frame = carried.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "one");
        assert!(carried.frame().await.is_none());
    }
}
