//! One channel of a cell: requests of its VMs, by HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER, reset_of};
use agentvm_policy::budget;
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderValue, Request, Response};
use http_body_util::combinators::MapErr;
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::body::{HandedOn, Stopped};
use crate::forward::{self, Gateway};
use crate::refusal::{Refusal, status};
use crate::vm::Vms;
use agentvm_policy::egress::Code;

/// What serves requests.
#[derive(Clone, Debug)]
pub struct Service {
    gateway: Arc<Gateway>,
    stop_rx: watch::Receiver<bool>,
}

impl Service {
    /// Serves until the channel ends.
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let (_never_stopped, stop_rx) = watch::channel(false);
        Self { gateway, stop_rx }
    }

    /// Ends what is in flight when `stop_rx` has true.
    #[must_use]
    pub fn stopped_by(self, stop_rx: watch::Receiver<bool>) -> Self {
        Self { stop_rx, ..self }
    }
}

impl From<Arc<Gateway>> for Service {
    fn from(gateway: Arc<Gateway>) -> Self {
        Self::new(gateway)
    }
}

/// What a cell gets: an upstream's answer, or none.
type Answer = Response<Either<Told, Empty<Bytes>>>;

/// An answer whose cell is told why it ends early, where it does.
type Told = MapErr<HandedOn, fn(Stopped) -> h2::Error>;

/// Serves the channel of one namespace until it is closed.
///
/// `vms` holds the VMs of that namespace and no others: who is at the other end is told by the
/// channel, and a cell can only choose among its own.
///
/// # Errors
///
/// Where the other end does not speak HTTP/2.
pub async fn serve<IO>(
    service: impl Into<Service>,
    vms: Arc<Vms>,
    channel: IO,
) -> Result<(), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service: Service = service.into();
    let mut stop_rx = service.stop_rx.clone();
    let answering = service_fn(move |request| {
        let (service, vms) = (service.clone(), vms.clone());
        async move { Ok::<_, Infallible>(answer(&service, &vms, request).await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        // An answer has the date that its upstream gave it.
        .auto_date_header(false)
        .max_concurrent_streams(budget::CHANNEL_STREAMS.u32())
        // A VM that gives up many at once, or sends on after a refusal, must not have the channel
        // closed, which is its neighbours' as well.
        .max_pending_accept_reset_streams(budget::CHANNEL_STREAMS.usize())
        .max_local_error_reset_streams(None)
        .initial_stream_window_size(budget::WINDOW_BYTES.u32())
        // Streams hold each other up by nothing but their own windows.
        .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
        .max_send_buf_size(budget::WINDOW_BYTES.usize())
        .max_header_list_size(budget::HEADER_BYTES.u32().saturating_mul(2))
        .serve_connection(TokioIo::new(channel), answering);
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stopped(&mut stop_rx) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await
}

/// Resolves when the process stops.
async fn stopped(stop_rx: &mut watch::Receiver<bool>) {
    if stop_rx.wait_for(|is_stopping| *is_stopping).await.is_err() {
        // Nobody is left who could say so.
        std::future::pending::<()>().await;
    }
}

async fn answer(service: &Service, vms: &Vms, request: Request<Incoming>) -> Answer {
    let mut stop_rx = service.stop_rx.clone();
    let forwarded = tokio::select! {
        forwarded = contained(forwarded(service, vms, request)) => forwarded,
        // May be tried again: the next process knows the same rules.
        () = stopped(&mut stop_rx) => Err(Code::Internal.into()),
    };
    let told: fn(Stopped) -> h2::Error = reset;
    match forwarded {
        Ok(answer) => answer.map(|body| Either::Left(body.map_err(told))),
        Err(refusal) => refused(&refusal),
    }
}

/// A panic is the end of its request, and of no other.
async fn contained<T>(forwarded: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    AssertUnwindSafe(forwarded)
        .catch_unwind()
        .await
        .unwrap_or_else(|_counted| Err(Code::Internal.into()))
}

async fn forwarded(
    service: &Service,
    vms: &Vms,
    request: Request<Incoming>,
) -> Result<forward::Answer, Refusal> {
    let uid = request.headers().get(VM_HEADER);
    let vm = uid
        .and_then(|uid| uid.to_str().ok())
        .and_then(|uid| vms.get(uid));
    match vm {
        Some(vm) => service.gateway.forward(&vm, request).await,
        None => Err(Code::Denied.into()),
    }
}

fn reset(Stopped(code): Stopped) -> h2::Error {
    h2::Reason::from(reset_of(code)).into()
}

fn refused(refusal: &Refusal) -> Answer {
    let code = refusal.code();
    tracing::debug!(%code, %refusal, "request refused");
    let mut answer = Response::new(Either::Right(Empty::new()));
    *answer.status_mut() = status(code);
    let value = HeaderValue::from_static(code.as_str());
    answer.headers_mut().insert(ERROR_HEADER, value);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_its_request_with_a_code_that_may_be_tried_again() {
        let panics = async { panic!("a bug of ours") };
        let refused = contained::<()>(panics).await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal);
        let fine = contained(async { Ok(7) }).await;
        assert_eq!(fine.ok(), Some(7));
    }
}
