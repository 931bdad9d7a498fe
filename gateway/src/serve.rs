//! One channel of a cell: requests of its VMs, by HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER};
use agentvm_policy::budget;
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::body::Bounded;
use crate::forward::Gateway;
use crate::refusal::{Refusal, status};
use crate::vm::Vms;
use agentvm_policy::egress::Code;

/// What a cell gets: an upstream's answer, or none.
type Answer = Response<Either<Bounded<Incoming>, Empty<Bytes>>>;

/// Serves the channel of one namespace until it is closed.
///
/// `vms` holds the VMs of that namespace and no others: who is at the other end is told by the
/// channel, and a cell can only choose among its own.
///
/// # Errors
///
/// Where the other end does not speak HTTP/2.
pub async fn serve<IO>(
    gateway: Arc<Gateway>,
    vms: Arc<Vms>,
    channel: IO,
) -> Result<(), hyper::Error>
where
    IO: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let (gateway, vms) = (gateway.clone(), vms.clone());
        async move { Ok::<_, Infallible>(answer(&gateway, &vms, request).await) }
    });
    http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        // An answer has the date that its upstream gave it.
        .auto_date_header(false)
        .max_concurrent_streams(budget::CHANNEL_STREAMS.u32())
        .initial_stream_window_size(budget::STREAM_BYTES.u32())
        // Streams hold each other up by nothing but their own windows.
        .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
        .max_send_buf_size(budget::STREAM_BYTES.usize())
        .max_header_list_size(budget::HEADER_BYTES.u32().saturating_mul(2))
        .serve_connection(TokioIo::new(channel), service)
        .await
}

async fn answer(gateway: &Gateway, vms: &Vms, request: Request<Incoming>) -> Answer {
    let uid = request.headers().get(VM_HEADER);
    let vm = uid
        .and_then(|uid| uid.to_str().ok())
        .and_then(|uid| vms.get(uid));
    let forwarded = match vm {
        Some(vm) => gateway.forward(&vm, request).await,
        None => Err(Code::Denied.into()),
    };
    match forwarded {
        Ok(answer) => answer.map(Either::Left),
        Err(refusal) => refused(&refusal),
    }
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
