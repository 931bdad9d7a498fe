//! The two bodies: of a request, to be written, and of an answer, to be read.

use std::sync::Arc;

use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::HttpResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    HostIncomingBody as Incoming, HostOutgoingBody as Outgoing,
};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody, HostOutgoingBody};

use super::streams::{Reader, Writer};
use crate::host::Host;

impl Outgoing for Host {
    fn write(
        &mut self,
        body: Resource<HostOutgoingBody>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ()>> {
        let budget = Arc::clone(&self.shared.budget);
        let table = self.http().table;
        let Some(stream) = table.get_mut(&body)?.take_output_stream() else {
            return Ok(Err(()));
        };
        let stream: DynOutputStream = Box::new(Writer { stream, budget });
        self.take_handle()?;
        Ok(Ok(self.http().table.push_child(stream, &body)?))
    }

    fn finish(
        &mut self,
        body: Resource<HostOutgoingBody>,
        trailers: Option<Resource<FieldMap>>,
    ) -> HttpResult<()> {
        let weight = trailers.as_ref().map(|fields| self.weight(fields));
        let weight = weight.transpose()?.unwrap_or_default();
        let finished = Outgoing::finish(&mut self.http(), body, trailers);
        self.give_weight_back(weight);
        self.give_handle_back();
        finished
    }

    fn drop(&mut self, body: Resource<HostOutgoingBody>) -> wasmtime::Result<()> {
        Outgoing::drop(&mut self.http(), body)?;
        self.give_handle_back();
        Ok(())
    }
}

impl Incoming for Host {
    fn stream(
        &mut self,
        body: Resource<HostIncomingBody>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, ()>> {
        let budget = Arc::clone(&self.shared.budget);
        let table = self.http().table;
        let Some(stream) = table.get_mut(&body)?.take_stream() else {
            return Ok(Err(()));
        };
        let stream: DynInputStream = Box::new(Reader { stream, budget });
        self.take_handle()?;
        Ok(Ok(self.http().table.push_child(stream, &body)?))
    }

    fn finish(
        &mut self,
        body: Resource<HostIncomingBody>,
    ) -> wasmtime::Result<Resource<HostFutureTrailers>> {
        // One handle goes, another comes.
        Incoming::finish(&mut self.http(), body)
    }

    fn drop(&mut self, body: Resource<HostIncomingBody>) -> wasmtime::Result<()> {
        Incoming::drop(&mut self.http(), body)?;
        self.give_handle_back();
        Ok(())
    }
}
