//! Requests that are being put together: every text bounded, all of it charged.

use agentvm_policy::budget;
use wasmtime::component::Resource;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{HostOutgoingRequest as Calls, Method, Scheme};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::weight::of_request;
use crate::host::Host;

const MAX_TARGET_BYTES: usize = budget::TARGET_BYTES.usize();
const MAX_AUTHORITY_CHARS: usize = budget::AUTHORITY_CHARS.usize();
const MAX_METHOD_CHARS: usize = budget::METHOD_CHARS.usize();

type Request = Resource<HostOutgoingRequest>;
/// Done, or refused without a reason: all that this interface can say.
type Set = wasmtime::Result<Result<(), ()>>;

impl Calls for Host {
    fn new(&mut self, headers: Resource<FieldMap>) -> wasmtime::Result<Request> {
        // The headers are the request's from here on, and so is their weight.
        Calls::new(&mut self.http(), headers)
    }

    fn body(
        &mut self,
        request: Request,
    ) -> wasmtime::Result<Result<Resource<HostOutgoingBody>, ()>> {
        let body = self.weighed(&request, |view, same| Calls::body(view, same))?;
        if body.is_ok() {
            self.take_handle()?;
        }
        Ok(body)
    }

    fn drop(&mut self, request: Request) -> wasmtime::Result<()> {
        let weight = of_request(self.http().table.get(&request)?);
        Calls::drop(&mut self.http(), request)?;
        self.give_weight_back(weight);
        Ok(())
    }

    fn method(&mut self, request: Request) -> wasmtime::Result<Method> {
        Calls::method(&mut self.http(), request)
    }

    fn set_method(&mut self, request: Request, method: Method) -> Set {
        if let Method::Other(name) = &method
            && name.len() > MAX_METHOD_CHARS
        {
            return Ok(Err(()));
        }
        self.weighed(&request, |view, same| Calls::set_method(view, same, method))
    }

    fn path_with_query(&mut self, request: Request) -> wasmtime::Result<Option<String>> {
        let target = Calls::path_with_query(&mut self.http(), request)?;
        self.charge_bytes(target.as_ref().map_or(0, String::len));
        Ok(target)
    }

    fn set_path_with_query(&mut self, request: Request, target: Option<String>) -> Set {
        let bytes = target.as_ref().map_or(0, String::len);
        self.charge_bytes(bytes);
        if bytes > MAX_TARGET_BYTES {
            return Ok(Err(()));
        }
        self.weighed(&request, |view, same| {
            Calls::set_path_with_query(view, same, target)
        })
    }

    fn scheme(&mut self, request: Request) -> wasmtime::Result<Option<Scheme>> {
        Calls::scheme(&mut self.http(), request)
    }

    fn set_scheme(&mut self, request: Request, scheme: Option<Scheme>) -> Set {
        if let Some(Scheme::Other(name)) = &scheme
            && name.len() > MAX_METHOD_CHARS
        {
            return Ok(Err(()));
        }
        self.weighed(&request, |view, same| Calls::set_scheme(view, same, scheme))
    }

    fn authority(&mut self, request: Request) -> wasmtime::Result<Option<String>> {
        Calls::authority(&mut self.http(), request)
    }

    fn set_authority(&mut self, request: Request, authority: Option<String>) -> Set {
        let chars = authority.as_ref().map_or(0, String::len);
        self.charge_bytes(chars);
        if chars > MAX_AUTHORITY_CHARS {
            return Ok(Err(()));
        }
        self.weighed(&request, |view, same| {
            Calls::set_authority(view, same, authority)
        })
    }

    fn headers(&mut self, request: Request) -> wasmtime::Result<Resource<FieldMap>> {
        let headers = Calls::headers(&mut self.http(), request)?;
        self.weigh(&headers)?;
        Ok(headers)
    }
}

impl Host {
    /// Changes a request, and charges what it holds more for it.
    fn weighed<T>(
        &mut self,
        request: &Request,
        change: impl FnOnce(
            &mut wasmtime_wasi_http::WasiHttpCtxView<'_>,
            Request,
        ) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let before = of_request(self.http().table.get(request)?);
        let result = change(&mut self.http(), Resource::new_borrow(request.rep()))?;
        let after = of_request(self.http().table.get(request)?);
        self.change_weight(before, after)?;
        Ok(result)
    }
}
