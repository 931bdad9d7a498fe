//! One request on its way: form, rule, name, addresses, connection, key, answer.
//!
//! Each step takes what only the one before it can make, so that none can be left out.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use agentvm_policy::budget;
use agentvm_policy::egress::{AddressRules, Admitted, Host, Permit, Request as Canonical};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until, timeout};

use crate::body::{Bounded, cover};
use crate::connect::{Stream, Tls, connect};
use crate::headers;
use crate::inject::Injection;
use crate::limits::Limits;
use crate::mask::Patterns;
use crate::refusal::Refusal;
use crate::resolve::Resolver;
use crate::vm::Vm;
use agentvm_policy::egress::Code;

/// What requests need besides their VM.
#[derive(Debug)]
pub struct Gateway {
    /// Resolves names.
    pub resolver: Resolver,
    /// Trusts hosts.
    pub tls: Tls,
}

/// An answer on its way to a guest.
pub type Answer = Response<Bounded<Incoming>>;

impl Gateway {
    /// Sends a guest's request where the VM's terms allow it; the answer, as far as it may be
    /// handed on.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: nothing was sent, or there is no answer that can be handed on.
    pub async fn forward<B>(&self, vm: &Arc<Vm>, request: Request<B>) -> Result<Answer, Refusal>
    where
        B: Body<Data = Bytes> + Send + 'static,
    {
        let terms = vm.terms();
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let canonical = canonical(&parts)?;
        let mut headers = headers::of_request(&parts.headers)?;
        let (permit, added) = terms.permit(canonical)?;
        let patterns = Patterns::of(added.iter().map(Injection::secret));
        add(added, &mut headers);

        let connecting = async {
            let slot = vm.slot().await?;
            let addresses = self.admitted(&permit, &terms.addresses).await?;
            let request = permit.request();
            let stream = connect(&self.tls, request.scheme, &request.host, &addresses).await?;
            Ok::<_, Refusal>((slot, stream))
        };
        let (slot, stream) =
            within(terms.limits.connect, Code::ConnectionTimeout, connecting).await?;

        let sent = outgoing(
            permit.request(),
            headers,
            Bounded::request(body, vm, &terms.limits),
        )?;
        let until = began + terms.limits.total;
        let cut = vm.clone().is_cut(permit.request().clone());
        let sending = async {
            let mut sender = drive(stream, until, cut, slot).await?;
            sender
                .send_request(sent)
                .await
                .map_err(|error| code_of(&error).into())
        };
        let answer = within(terms.limits.first_byte, Code::ResponseTimeout, sending).await?;
        handed_on(answer, &terms.limits, patterns)
    }

    /// The addresses of a host, every one of which is open to the VM.
    async fn admitted(
        &self,
        permit: &Permit,
        rules: &AddressRules,
    ) -> Result<Vec<Admitted>, Refusal> {
        let Canonical { host, port, .. } = permit.request();
        let addresses = match host {
            Host::Name(name) => self.resolver.addresses(name).await?,
            Host::Address(address) => vec![*address],
        };
        addresses
            .into_iter()
            .map(|address| {
                rules
                    .admit((address, *port).into())
                    .map_err(Refusal::Address)
            })
            .collect()
    }
}

/// Runs one leg of the way, and not for longer than it may take.
async fn within<T>(
    most: Duration,
    code: Code,
    leg: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout(most, leg).await.unwrap_or(Err(code.into()))
}

/// The one form of a request that came by HTTP/2.
fn canonical(parts: &http::request::Parts) -> Result<Canonical, Refusal> {
    let uri = &parts.uri;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let canonical = Canonical::parse(
        parts.method.as_str(),
        uri.scheme_str().unwrap_or_default(),
        authority,
        target,
    )?;
    for host in parts.headers.get_all(HOST) {
        if host.as_bytes() != authority.as_bytes() {
            return Err(Refusal::TwoHosts);
        }
    }
    Ok(canonical)
}

/// Adds the headers of a rule. An answer that could hold a key comes as it is, so that it is found.
fn add(added: &[Injection], headers: &mut HeaderMap) {
    for injection in added {
        injection.apply(headers);
    }
    if !added.is_empty() {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// The request as it is sent: what was permitted, and nothing else.
fn outgoing<B>(
    canonical: &Canonical,
    mut headers: HeaderMap,
    body: Bounded<B>,
) -> Result<Request<Bounded<B>>, Refusal> {
    let failed = |_not_possible: &dyn std::error::Error| Refusal::from(Code::Internal);
    let host = HeaderValue::from_str(&canonical.authority()).map_err(|error| failed(&error))?;
    headers.insert(HOST, host);
    let mut request = Request::builder()
        .method(canonical.method.as_str())
        .uri(canonical.target.to_string())
        .version(Version::HTTP_11)
        .body(body)
        .map_err(|error| failed(&error))?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Speaks HTTP/1.1 on `stream` in a task of its own, which ends with the connection, at `until`, or
/// when the request is no longer allowed. Only then is its slot free again.
async fn drive<B>(
    stream: Box<dyn Stream>,
    until: Instant,
    cut: impl Future<Output = ()> + Send + 'static,
    slot: impl Send + 'static,
) -> Result<http1::SendRequest<Bounded<B>>, Refusal>
where
    B: Body<Data = Bytes> + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_headers(budget::HEADERS.usize())
        .max_buf_size(budget::STREAM_BYTES.usize())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_broke_off| Code::Protocol)?;
    tokio::spawn(async move {
        tokio::select! {
            _over = connection => {}
            () = sleep_until(until) => {}
            () = cut => {}
        }
        drop(slot);
    });
    Ok(sender)
}

fn code_of(error: &hyper::Error) -> Code {
    let stopped = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<crate::body::Stopped>());
    match stopped {
        Some(stopped) => stopped.0,
        None if error.is_parse_too_large() => Code::ResponseHeaderSize,
        None => Code::Protocol,
    }
}

/// The answer as it is handed to the guest. Redirects are answers like others: the guest's next
/// request is decided on like its first.
fn handed_on(
    answer: Response<Incoming>,
    limits: &Limits,
    patterns: Patterns,
) -> Result<Answer, Refusal> {
    let (mut parts, body) = answer.into_parts();
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Code::Protocol.into());
    }
    let coded = parts.headers.get_all(CONTENT_ENCODING).iter();
    if !patterns.is_empty() && coded.into_iter().any(|coding| coding != "identity") {
        return Err(Code::ResponseContentCoding.into());
    }
    let mut headers = headers::of_response(&parts.headers)?;
    cover(&patterns, &mut headers);
    parts.headers = headers;
    parts.extensions.clear();
    Ok(Response::from_parts(
        parts,
        Bounded::response(body, limits, patterns),
    ))
}
