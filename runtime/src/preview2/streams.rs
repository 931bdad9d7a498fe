//! Streams: what wasmtime does with them, over handles that count.

use wasmtime::component::Resource;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::p2::bindings::io::streams::{
    self, Host as Streams, HostInputStream as Input, HostOutputStream as Output,
};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, StreamError, StreamResult};

use crate::host::Host;

type In = Resource<DynInputStream>;
type Out = Resource<DynOutputStream>;

impl Streams for Host {
    fn convert_stream_error(
        &mut self,
        error: StreamError,
    ) -> wasmtime::Result<streams::StreamError> {
        if matches!(error, StreamError::LastOperationFailed(_)) {
            self.take_handle()?;
        }
        Streams::convert_stream_error(self.ctx().table, error)
    }
}

impl Input for Host {
    async fn drop(&mut self, stream: In) -> wasmtime::Result<()> {
        Input::drop(self.ctx().table, stream).await?;
        self.give_handle_back();
        Ok(())
    }

    fn read(&mut self, stream: In, len: u64) -> StreamResult<Vec<u8>> {
        Input::read(self.ctx().table, stream, len)
    }

    async fn blocking_read(&mut self, stream: In, len: u64) -> StreamResult<Vec<u8>> {
        Input::blocking_read(self.ctx().table, stream, len).await
    }

    fn skip(&mut self, stream: In, len: u64) -> StreamResult<u64> {
        Input::skip(self.ctx().table, stream, len)
    }

    async fn blocking_skip(&mut self, stream: In, len: u64) -> StreamResult<u64> {
        Input::blocking_skip(self.ctx().table, stream, len).await
    }

    fn subscribe(&mut self, stream: In) -> wasmtime::Result<Resource<DynPollable>> {
        self.take_handle()?;
        Input::subscribe(self.ctx().table, stream)
    }
}

impl Output for Host {
    async fn drop(&mut self, stream: Out) -> wasmtime::Result<()> {
        Output::drop(self.ctx().table, stream).await?;
        self.give_handle_back();
        Ok(())
    }

    fn check_write(&mut self, stream: Out) -> StreamResult<u64> {
        Output::check_write(self.ctx().table, stream)
    }

    fn write(&mut self, stream: Out, bytes: Vec<u8>) -> StreamResult<()> {
        Output::write(self.ctx().table, stream, bytes)
    }

    async fn blocking_write_and_flush(&mut self, stream: Out, bytes: Vec<u8>) -> StreamResult<()> {
        Output::blocking_write_and_flush(self.ctx().table, stream, bytes).await
    }

    fn flush(&mut self, stream: Out) -> StreamResult<()> {
        Output::flush(self.ctx().table, stream)
    }

    async fn blocking_flush(&mut self, stream: Out) -> StreamResult<()> {
        Output::blocking_flush(self.ctx().table, stream).await
    }

    fn subscribe(&mut self, stream: Out) -> wasmtime::Result<Resource<DynPollable>> {
        self.take_handle()?;
        Output::subscribe(self.ctx().table, stream)
    }

    fn write_zeroes(&mut self, stream: Out, len: u64) -> StreamResult<()> {
        Output::write_zeroes(self.ctx().table, stream, len)
    }

    async fn blocking_write_zeroes_and_flush(&mut self, stream: Out, len: u64) -> StreamResult<()> {
        Output::blocking_write_zeroes_and_flush(self.ctx().table, stream, len).await
    }

    fn splice(&mut self, to: Out, from: In, len: u64) -> StreamResult<u64> {
        Output::splice(self.ctx().table, to, from, len)
    }

    async fn blocking_splice(&mut self, to: Out, from: In, len: u64) -> StreamResult<u64> {
        Output::blocking_splice(self.ctx().table, to, from, len).await
    }
}
