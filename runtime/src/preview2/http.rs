//! `wasi:http`, of which a component has the asking side: `types` and `outgoing-handler`.
//!
//! wasmtime's implementation works on the resources; what stands here bounds and charges them,
//! and hands the requests to whoever carries them. A component that serves requests finds nothing
//! to call it, so what it would answer with can't be made.

mod bodies;
mod closed;
mod fields;
mod handle;
mod options;
mod request;
mod response;
mod streams;
mod weight;

use agentvm_policy::egress::Code;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::{HeaderError, HttpError};
use wasmtime_wasi_http::{Error, WasiHttpCtx, WasiHttpCtxView};

use self::handle::Hooks;
use crate::host::Host;

/// What requests need besides the table of handles.
pub(super) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
}

impl Http {
    pub(super) fn new() -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(weight::most_fields_bytes());
        Self {
            context,
            hooks: Hooks::default(),
        }
    }
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let options = LinkOptions::default();
    types::add_to_linker::<Host, HasSelf<Host>>(linker, &options.into(), |host| host)?;
    outgoing_handler::add_to_linker::<Host, HasSelf<Host>>(linker, |host| host)
}

impl Host {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let preview2 = self.preview2();
        WasiHttpCtxView {
            hooks: &mut preview2.http.hooks,
            table: &mut preview2.table,
            ctx: &mut preview2.http.context,
        }
    }
}

/// Only translates errors.
impl types::Host for Host {
    fn convert_error_code(&mut self, error: HttpError) -> wasmtime::Result<types::ErrorCode> {
        error.downcast()
    }

    fn convert_header_error(&mut self, error: HeaderError) -> wasmtime::Result<types::HeaderError> {
        error.downcast()
    }

    fn http_error_code(
        &mut self,
        error: Resource<types::IoError>,
    ) -> wasmtime::Result<Option<types::ErrorCode>> {
        let error = self.http().table.get(&error)?;
        Ok(error.downcast_ref::<Failed>().map(|failed| told(failed.0)))
    }
}

/// An error that ends the component.
fn trap(error: wasmtime::Error) -> HttpError {
    HttpError::trap(error)
}

/// A body that broke off, as the error of a stream.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(Code);

/// `code` as a component is told of it.
fn told(code: Code) -> types::ErrorCode {
    use types::ErrorCode as Told;
    match code {
        Code::Denied => Told::HttpRequestDenied,
        Code::RequestInvalid => Told::HttpRequestUriInvalid,
        Code::RequestHeaderSize => Told::HttpRequestHeaderSectionSize(None),
        Code::RequestBodySize => Told::HttpRequestBodySize(None),
        Code::Dns => Told::DnsError(types::DnsErrorPayload {
            rcode: None,
            info_code: None,
        }),
        Code::DnsTimeout => Told::DnsTimeout,
        Code::AddressProhibited => Told::DestinationIpProhibited,
        Code::ConnectionRefused => Told::ConnectionRefused,
        Code::ConnectionTimeout => Told::ConnectionTimeout,
        Code::ConnectionLimit => Told::ConnectionLimitReached,
        Code::TlsProtocol => Told::TlsProtocolError,
        Code::TlsCertificate => Told::TlsCertificateError,
        Code::Protocol => Told::HttpProtocolError,
        Code::ResponseTimeout => Told::HttpResponseTimeout,
        Code::ResponseHeaderSize => Told::HttpResponseHeaderSectionSize(None),
        Code::ResponseBodySize => Told::HttpResponseBodySize(None),
        Code::ResponseContentCoding => Told::HttpResponseContentCoding(None),
        Code::LoopDetected => Told::LoopDetected,
        Code::Internal => Told::InternalError(None),
    }
}

/// `code` on its way through wasmtime's implementation.
fn carried(code: Code) -> Error {
    Error::from(told(code))
}

/// The code that `error` carries, where one of ours does; whatever else breaks a body is the
/// host's fault.
fn code_of(error: &Error) -> Code {
    let same =
        |code: &Code| std::mem::discriminant(&carried(*code)) == std::mem::discriminant(error);
    Code::ALL.into_iter().find(same).unwrap_or(Code::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_through_as_itself() {
        for code in Code::ALL {
            assert_eq!(code_of(&carried(code)), code);
        }
    }
}
