//! Answers: the wait for one, its status and headers, and the trailers behind its body.

use http::HeaderMap;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, HostFutureIncomingResponse as Waiting, HostFutureTrailers as AtTheEnd,
    HostIncomingResponse as Answer,
};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostIncomingResponse};

use super::weight::of_fields;
use crate::host::Host;

/// What comes of a wait: nothing yet, or once a result.
type Come<T> = Option<Result<Result<T, types::ErrorCode>, ()>>;

impl Waiting for Host {
    fn drop(&mut self, waiting: Resource<HostFutureIncomingResponse>) -> wasmtime::Result<()> {
        Waiting::drop(&mut self.http(), waiting)?;
        self.give_handle_back();
        Ok(())
    }

    fn get(
        &mut self,
        waiting: Resource<HostFutureIncomingResponse>,
    ) -> wasmtime::Result<Come<Resource<HostIncomingResponse>>> {
        let come = Waiting::get(&mut self.http(), waiting)?;
        if let Some(Ok(Ok(answer))) = &come {
            let weight = self.weight_of_answer(answer)?;
            self.take_weight(weight)?;
        }
        Ok(come)
    }

    fn subscribe(
        &mut self,
        waiting: Resource<HostFutureIncomingResponse>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.take_handle()?;
        Waiting::subscribe(&mut self.http(), waiting)
    }
}

impl Answer for Host {
    fn drop(&mut self, answer: Resource<HostIncomingResponse>) -> wasmtime::Result<()> {
        let weight = self.weight_of_answer(&answer)?;
        Answer::drop(&mut self.http(), answer)?;
        self.give_weight_back(weight);
        Ok(())
    }

    fn status(&mut self, answer: Resource<HostIncomingResponse>) -> wasmtime::Result<u16> {
        Answer::status(&mut self.http(), answer)
    }

    fn headers(
        &mut self,
        answer: Resource<HostIncomingResponse>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        let headers = Answer::headers(&mut self.http(), answer)?;
        self.weigh(&headers)?;
        Ok(headers)
    }

    fn consume(
        &mut self,
        answer: Resource<HostIncomingResponse>,
    ) -> wasmtime::Result<Result<Resource<HostIncomingBody>, ()>> {
        let consumed = Answer::consume(&mut self.http(), answer)?;
        if consumed.is_ok() {
            self.take_handle()?;
        }
        Ok(consumed)
    }
}

impl AtTheEnd for Host {
    fn drop(&mut self, trailers: Resource<HostFutureTrailers>) -> wasmtime::Result<()> {
        AtTheEnd::drop(&mut self.http(), trailers)?;
        self.give_handle_back();
        Ok(())
    }

    fn subscribe(
        &mut self,
        trailers: Resource<HostFutureTrailers>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        self.take_handle()?;
        AtTheEnd::subscribe(&mut self.http(), trailers)
    }

    fn get(
        &mut self,
        trailers: Resource<HostFutureTrailers>,
    ) -> wasmtime::Result<Come<Option<Resource<FieldMap>>>> {
        let come = AtTheEnd::get(&mut self.http(), trailers)?;
        if let Some(Ok(Ok(Some(fields)))) = &come {
            self.weigh(fields)?;
        }
        Ok(come)
    }
}

impl Host {
    fn weight_of_answer(
        &mut self,
        answer: &Resource<HostIncomingResponse>,
    ) -> wasmtime::Result<u64> {
        let headers: &HeaderMap = &self.http().table.get(answer)?.headers;
        Ok(of_fields(headers))
    }
}
