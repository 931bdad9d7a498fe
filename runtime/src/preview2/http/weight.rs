//! What the handles of `wasi:http` count of a VM's memory.

use agentvm_policy::budget;
use http::{HeaderMap, HeaderName, HeaderValue};
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use crate::egress::headers::{self, MAX_HEADER_BYTES, MAX_HEADERS};
use crate::host::Host;

/// What any of the handles holds besides what is told below.
const HANDLE_BYTES: usize = budget::OPEN_FILE_BYTES.usize();
/// What a header takes besides its bytes.
const ENTRY_BYTES: usize = size_of::<HeaderName>() + size_of::<HeaderValue>();
/// The pieces that wait in a body which nobody has taken yet, and the one that is next.
const PIECES: usize = 3;

/// As many bytes of headers as wasmtime counts of headers that just fit.
pub(super) fn most_fields_bytes() -> usize {
    MAX_HEADER_BYTES + MAX_HEADERS * ENTRY_BYTES
}

/// What a handle on `headers` holds.
pub(super) fn of_fields(headers: &HeaderMap) -> u64 {
    let entries = headers.len().saturating_mul(ENTRY_BYTES);
    wide(HANDLE_BYTES + headers::bytes(headers) + entries)
}

/// What a request holds that was not sent yet.
pub(super) fn of_request(request: &HostOutgoingRequest) -> u64 {
    let method = match &request.method {
        Method::Other(name) => name.len(),
        Method::Get
        | Method::Head
        | Method::Post
        | Method::Put
        | Method::Delete
        | Method::Connect
        | Method::Options
        | Method::Trace
        | Method::Patch => 0,
    };
    let scheme = match &request.scheme {
        Some(Scheme::Other(name)) => name.len(),
        Some(Scheme::Http | Scheme::Https) | None => 0,
    };
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let texts = method + scheme + length(&request.authority) + length(&request.path_with_query);
    let body = if request.body.is_some() {
        PIECES * super::handle::PIECE_BYTES
    } else {
        0
    };
    of_fields(&request.headers).saturating_add(wide(texts + body))
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Host {
    /// Takes memory for what a handle is about to hold. There is no error that a component could
    /// be told, so one without memory traps, as it does where it has too many handles.
    pub(super) fn take_weight(&self, bytes: u64) -> wasmtime::Result<()> {
        if self.shared.budget.memory.take_host(bytes) {
            return Ok(());
        }
        Err(wasmtime::Error::msg(
            "made a request with its memory used up",
        ))
    }

    pub(super) fn give_weight_back(&self, bytes: u64) {
        self.shared.budget.memory.give_host_back(bytes);
    }

    /// What a handle held has changed.
    pub(super) fn change_weight(&self, before: u64, after: u64) -> wasmtime::Result<()> {
        if after > before {
            self.take_weight(after - before)
        } else {
            self.give_weight_back(before - after);
            Ok(())
        }
    }
}
