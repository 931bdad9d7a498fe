//! Requests to hosts outside: what both guest interfaces hand to whoever carries them.
//!
//! The runtime decides nothing about them and opens nothing: it turns what a guest asks into one
//! HTTP request, and the answer into what the guest reads.

mod body;
mod deadlines;
pub(crate) mod headers;
mod send;
mod slot;

use std::future::Future;
use std::pin::Pin;

use agentvm_policy::egress::Code;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

pub(crate) use self::deadlines::Deadlines;
pub(crate) use self::send::Way;
pub(crate) use self::slot::Held;

/// A body on its way, in pieces; it may end early, and says why.
pub type Body = UnsyncBoxBody<Bytes, Code>;

/// An answer that is still to come.
pub type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Code>> + Send>>;

/// Carries the requests of one VM.
pub trait Egress: Send + Sync + 'static {
    /// Sends `request`, whose URI has scheme and authority; what a guest may not say of a
    /// connection is not among its headers. Resolves when the answer's headers
    /// are there; dropping it, or a body, gives the request up.
    ///
    /// It is polled by the guest's executor, so it must not work long: what takes time belongs
    /// to a task of whoever carries it.
    fn send(&self, request: http::Request<Body>) -> Answer;
}
