//! Sending a request: whether there is a way at all, its place among those in flight, its task.

use std::future::Future;
use std::sync::Arc;

use agentvm_policy::egress::Code;
use http::HeaderName;
use http_body_util::BodyExt as _;
use wasmtime::component::Resource;
use wasmtime_wasi_http::p2::bindings::http::{outgoing_handler, types};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p2::{HttpError, HttpResult};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::weight::of_request;
use super::{carried, code_of, told, trap};
use crate::egress::{Deadlines, Held, Way, headers};
use crate::host::Host;

/// The most bytes that one write to the body of a request takes.
pub(super) const PIECE_BYTES: usize = agentvm_policy::budget::BODY_PIECE_BYTES.usize();

type Answered = Result<(http::Response<WasiBody>, Ended), Error>;
type Ended = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl outgoing_handler::Host for Host {
    fn handle(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<types::RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        // wasmtime's implementation looks at the options that it is given, and leaves them there.
        let given = options.as_ref().map(Resource::rep);
        let asked = self.http().table.get_mut(&request)?;
        let weight = of_request(asked);
        // Without a path it would be no URI, which would be logged here each time.
        asked.path_with_query.get_or_insert_with(|| "/".to_owned());
        let way = self.way_out();
        let taken = way.and_then(|way| Ok((Held::take(&self.shared.budget)?, way)));
        let result = match taken {
            Ok(taken) => {
                self.preview2().http.hooks.next = Some(taken);
                outgoing_handler::Host::handle(&mut self.http(), request, options)
                    .map_err(in_our_words)
            }
            Err(code) => {
                self.http().table.delete(request)?;
                Err(told(code).into())
            }
        };
        self.preview2().http.hooks.next = None;
        self.give_weight_back(weight);
        if let Some(given) = given {
            let options = Resource::<types::RequestOptions>::new_own(given);
            self.http().table.delete(options)?;
            self.give_handle_back();
        }
        if result.is_ok() {
            self.take_handle().map_err(trap)?;
        }
        result
    }
}

/// `error` as one of the codes that guests are told.
fn in_our_words(error: HttpError) -> HttpError {
    use types::ErrorCode::{HttpRequestMethodInvalid, InternalError};
    match error.downcast_ref() {
        Some(HttpRequestMethodInvalid | InternalError(_)) => told(Code::RequestInvalid).into(),
        Some(_) | None => error,
    }
}

/// What wasmtime's implementation asks of us.
#[derive(Default)]
pub(super) struct Hooks {
    /// The place and the way of the request that is being sent.
    next: Option<(Held, Way)>,
}

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        headers::is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> wasmtime_wasi_http::ForbiddenHeaderFilter {
        Arc::new(headers::is_forbidden)
    }

    fn set_host_header(&mut self) -> bool {
        false // the authority says it, once
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _read: Ended,
    ) -> Box<dyn Future<Output = Answered> + Send> {
        let Some((held, way)) = self.next.take() else {
            return Box::new(async { Err(carried(Code::Denied)) });
        };
        let request = request.map(|body| body.map_err(|error| code_of(&error)).boxed_unsync());
        let sent = way.send(request, Some(held), deadlines(options));
        Box::new(async move {
            let answer = sent.await.map_err(carried)?;
            let ended: Ended = Box::new(async { Ok(()) });
            Ok((
                answer.map(|body| body.map_err(carried).boxed_unsync()),
                ended,
            ))
        })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        1
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        PIECE_BYTES
    }
}

fn deadlines(options: Option<RequestOptions>) -> Deadlines {
    let RequestOptions {
        connect_timeout,
        first_byte_timeout,
        between_bytes_timeout,
    } = options.unwrap_or_default();
    Deadlines::new(connect_timeout, first_byte_timeout, between_bytes_timeout)
}
