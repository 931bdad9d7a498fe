//! The serving side of `wasi:http/types`: linked because toolchains import it. Nothing calls a
//! component with a request, so it holds none of these handles, and it can't make the one that has
//! a constructor.

use wasmtime::component::Resource;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::HttpResult;
use wasmtime_wasi_http::p2::bindings::http::types::{
    ErrorCode, HostIncomingRequest as Asked, HostOutgoingResponse as Made,
    HostResponseOutparam as Told, Method, Scheme,
};
use wasmtime_wasi_http::p2::body::{HostIncomingBody, HostOutgoingBody};
use wasmtime_wasi_http::p2::types::{
    HostIncomingRequest, HostOutgoingResponse, HostResponseOutparam,
};

use crate::host::Host;

fn closed<T>() -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg(
        "used the serving side of wasi:http, which is closed",
    ))
}

impl Made for Host {
    fn new(&mut self, _: Resource<FieldMap>) -> wasmtime::Result<Resource<HostOutgoingResponse>> {
        closed()
    }

    fn body(
        &mut self,
        _: Resource<HostOutgoingResponse>,
    ) -> wasmtime::Result<Result<Resource<HostOutgoingBody>, ()>> {
        closed()
    }

    fn status_code(&mut self, _: Resource<HostOutgoingResponse>) -> wasmtime::Result<u16> {
        closed()
    }

    fn set_status_code(
        &mut self,
        _: Resource<HostOutgoingResponse>,
        _: u16,
    ) -> wasmtime::Result<Result<(), ()>> {
        closed()
    }

    fn headers(
        &mut self,
        _: Resource<HostOutgoingResponse>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        closed()
    }

    fn drop(&mut self, _: Resource<HostOutgoingResponse>) -> wasmtime::Result<()> {
        closed()
    }
}

impl Asked for Host {
    fn method(&mut self, _: Resource<HostIncomingRequest>) -> wasmtime::Result<Method> {
        closed()
    }

    fn path_with_query(
        &mut self,
        _: Resource<HostIncomingRequest>,
    ) -> wasmtime::Result<Option<String>> {
        closed()
    }

    fn scheme(&mut self, _: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<Scheme>> {
        closed()
    }

    fn authority(&mut self, _: Resource<HostIncomingRequest>) -> wasmtime::Result<Option<String>> {
        closed()
    }

    fn headers(
        &mut self,
        _: Resource<HostIncomingRequest>,
    ) -> wasmtime::Result<Resource<FieldMap>> {
        closed()
    }

    fn consume(
        &mut self,
        _: Resource<HostIncomingRequest>,
    ) -> wasmtime::Result<Result<Resource<HostIncomingBody>, ()>> {
        closed()
    }

    fn drop(&mut self, _: Resource<HostIncomingRequest>) -> wasmtime::Result<()> {
        closed()
    }
}

impl Told for Host {
    fn set(
        &mut self,
        _: Resource<HostResponseOutparam>,
        _: Result<Resource<HostOutgoingResponse>, ErrorCode>,
    ) -> wasmtime::Result<()> {
        closed()
    }

    fn send_informational(
        &mut self,
        _: Resource<HostResponseOutparam>,
        _: u16,
        _: Resource<FieldMap>,
    ) -> HttpResult<()> {
        closed().map_err(super::trap)
    }

    fn drop(&mut self, _: Resource<HostResponseOutparam>) -> wasmtime::Result<()> {
        closed()
    }
}
