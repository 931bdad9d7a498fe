//! How long a component is ready to wait; what it names is held to bounds when it is used.

use wasmtime::component::Resource;
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::p2::bindings::http::types::{Duration, HostRequestOptions};

use crate::host::Host;

type Options = Resource<RequestOptions>;
type Set = wasmtime::Result<Result<(), ()>>;

impl HostRequestOptions for Host {
    fn new(&mut self) -> wasmtime::Result<Options> {
        self.take_handle()?;
        HostRequestOptions::new(&mut self.http())
    }

    fn connect_timeout(&mut self, options: Options) -> wasmtime::Result<Option<Duration>> {
        HostRequestOptions::connect_timeout(&mut self.http(), options)
    }

    fn set_connect_timeout(&mut self, options: Options, time: Option<Duration>) -> Set {
        HostRequestOptions::set_connect_timeout(&mut self.http(), options, time)
    }

    fn first_byte_timeout(&mut self, options: Options) -> wasmtime::Result<Option<Duration>> {
        HostRequestOptions::first_byte_timeout(&mut self.http(), options)
    }

    fn set_first_byte_timeout(&mut self, options: Options, time: Option<Duration>) -> Set {
        HostRequestOptions::set_first_byte_timeout(&mut self.http(), options, time)
    }

    fn between_bytes_timeout(&mut self, options: Options) -> wasmtime::Result<Option<Duration>> {
        HostRequestOptions::between_bytes_timeout(&mut self.http(), options)
    }

    fn set_between_bytes_timeout(&mut self, options: Options, time: Option<Duration>) -> Set {
        HostRequestOptions::set_between_bytes_timeout(&mut self.http(), options, time)
    }

    fn drop(&mut self, options: Options) -> wasmtime::Result<()> {
        HostRequestOptions::drop(&mut self.http(), options)?;
        self.give_handle_back();
        Ok(())
    }
}
