//! One request on its way: form, rule, name, addresses, connection, key, answer.
//!
//! Each step takes what only the one before it can make, so that none can be left out.

use std::future::Future;
use std::sync::Arc;

use agentvm_policy::egress::{AddressRules, Admitted, Host, Method, Permit, Request as Canonical};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::{Either, Empty};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use crate::body::{HandedOn, Lease, Outgoing, Stopped, cover};
use crate::connect::Tls;
use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::headers;
use crate::inject::Injection;
use crate::mask::Patterns;
use crate::pool::{Purpose, Room};
use crate::refusal::Refusal;
use crate::resolve::Resolver;
use crate::vm::{Terms, Vm};
use agentvm_policy::egress::Code;

/// What requests need besides their VM.
#[derive(Debug)]
pub struct Gateway {
    resolver: Resolver,
    tls: Tls,
    room: Room,
}

/// An answer on its way to a guest.
pub type Answer = Response<HandedOn>;

/// A request that may be sent, and where to.
struct Decided {
    permit: Permit,
    terms: Arc<Terms>,
    epoch: u64,
    patterns: Patterns,
    head: Head,
}

/// All of a request but its body.
#[derive(Clone)]
struct Head {
    canonical: Canonical,
    headers: HeaderMap,
}

/// What became of a request on one connection.
enum Sending {
    Answered(Box<Response<Incoming>>, Connection),
    /// Nothing of it has arrived, or it does no harm to send it again.
    Again(Box<Request<Outgoing>>),
}

impl Gateway {
    /// A gateway that resolves by `resolver` and trusts by `tls`.
    pub fn new(resolver: Resolver, tls: Tls) -> Self {
        Self {
            resolver,
            tls,
            room: Room::default(),
        }
    }

    /// Sends a guest's request where the VM's terms allow it; the answer, as far as it may be
    /// handed on.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: nothing was sent, or there is no answer that can be handed on.
    pub async fn forward(
        &self,
        vm: &Arc<Vm>,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        let exchange = Exchange::begin(vm);
        let forwarded = tokio::select! {
            biased;
            forwarded = self.forwarded(&exchange, request) => forwarded,
            refusal = exchange.is_cut() => Err(refusal),
        };
        forwarded.map_err(|refusal| exchange.fail(refusal))
    }

    async fn forwarded(
        &self,
        exchange: &Arc<Exchange>,
        request: Request<Incoming>,
    ) -> Result<Answer, Refusal> {
        let (parts, body) = request.into_parts();
        let decided = decide(exchange, &parts)?;
        let body = if body.is_end_stream() {
            Either::Right(Empty::new())
        } else {
            Either::Left(body)
        };
        let sent = decided.head.clone().with(body, exchange)?;
        let (answer, connection) = self.exchanged(exchange, &decided, sent).await?;
        let lease = Lease {
            connection,
            purpose: Purpose::new(&decided.permit, decided.epoch),
            room: self.room.clone(),
        };
        handed_on(answer, exchange, lease, decided.patterns)
    }

    /// Sends a request by an idle connection or a new one.
    async fn exchanged(
        &self,
        exchange: &Arc<Exchange>,
        decided: &Decided,
        mut sent: Request<Outgoing>,
    ) -> Result<(Response<Incoming>, Connection), Refusal> {
        let limits = exchange.limits();
        let Decided { permit, terms, .. } = decided;
        let connected = Instant::now() + limits.connect;
        let addresses = within(connected, Code::ConnectionTimeout, async {
            exchange.holds(exchange.vm().slot().await?);
            self.admitted(permit, &terms.addresses).await
        })
        .await?;
        let purpose = Purpose::new(permit, decided.epoch);
        if let Some(idle) = exchange.vm().pool().take(&purpose, &addresses) {
            match send(exchange, &decided.head, idle, sent, Use::Another).await? {
                Sending::Answered(answer, connection) => return Ok((*answer, connection)),
                Sending::Again(request) => sent = *request,
            }
        }
        let opening = async {
            let buffer = limits.buffer_bytes();
            let open = Connection::open(&self.tls, permit.request(), &addresses, buffer);
            Ok(open.await?)
        };
        let connection = within(connected, Code::ConnectionTimeout, opening).await?;
        match send(exchange, &decided.head, connection, sent, Use::First).await? {
            Sending::Answered(answer, connection) => Ok((*answer, connection)),
            Sending::Again(_) => Err(Code::Protocol.into()),
        }
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

/// Form, rule, headers and key: everything that needs nobody outside.
fn decide(exchange: &Exchange, parts: &http::request::Parts) -> Result<Decided, Refusal> {
    let canonical = canonical(parts)?;
    // In this order, so that terms that change meanwhile find the request, or it finds them.
    exchange.asks(&canonical);
    let epoch = exchange.vm().pool().epoch();
    let terms = exchange.vm().terms();
    let mut headers = headers::of_request(&parts.headers)?;
    let (permit, added) = terms.permit(canonical.clone())?;
    exchange.permitted(&permit);
    let patterns = Patterns::of(added.iter().map(Injection::secret));
    add(added, &mut headers);
    Ok(Decided {
        permit,
        epoch,
        patterns,
        head: Head { canonical, headers },
        terms,
    })
}

/// Which request of its connection one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    First,
    /// Its host may have closed it just now, which is nobody's fault.
    Another,
}

/// Sends one request by `connection`, and waits for the beginning of the answer.
async fn send(
    exchange: &Arc<Exchange>,
    head: &Head,
    mut connection: Connection,
    request: Request<Outgoing>,
    which: Use,
) -> Result<Sending, Refusal> {
    let is_empty = request.body().is_empty();
    let first_byte = Instant::now() + exchange.limits().first_byte;
    exchange.goes_by(&connection);
    let sending = async { Ok(connection.sender.try_send_request(request).await) };
    let mut failed = match within(first_byte, Code::ResponseTimeout, sending).await? {
        Ok(answer) => return Ok(Sending::Answered(Box::new(answer), connection)),
        Err(failed) => failed,
    };
    if which == Use::Another && !exchange.has_failed() {
        if let Some(unsent) = failed.take_message() {
            return Ok(Sending::Again(Box::new(unsent)));
        }
        if is_empty && head.is_repeatable() && !failed.error().is_parse() {
            let body = Either::Right(Empty::new());
            let again = head.clone().with(body, exchange)?;
            return Ok(Sending::Again(Box::new(again)));
        }
    }
    Err(code_of(failed.error()).into())
}

/// Runs one leg of the way, and not for longer than it may take.
async fn within<T>(
    until: Instant,
    code: Code,
    leg: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout_at(until, leg).await.unwrap_or(Err(code.into()))
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
///
/// # Errors
///
/// Where it can't be written: never, for what has a canonical form.
pub fn outgoing<B>(
    canonical: &Canonical,
    mut headers: HeaderMap,
    body: B,
) -> Result<Request<B>, Refusal> {
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

impl Head {
    fn with(
        self,
        body: Either<Incoming, Empty<Bytes>>,
        exchange: &Arc<Exchange>,
    ) -> Result<Request<Outgoing>, Refusal> {
        outgoing(
            &self.canonical,
            self.headers,
            Outgoing::request(body, exchange),
        )
    }

    /// Whether it does no harm to send it twice (RFC 9110, section 9.2.1).
    const fn is_repeatable(&self) -> bool {
        matches!(
            self.canonical.method,
            Method::Get | Method::Head | Method::Options
        )
    }
}

fn code_of(error: &hyper::Error) -> Code {
    let stopped =
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<Stopped>());
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
    exchange: &Arc<Exchange>,
    lease: Lease,
    patterns: Patterns,
) -> Result<Answer, Refusal> {
    let (mut parts, body) = answer.into_parts();
    exchange.answered(parts.status);
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
        HandedOn::response(body, exchange, lease, patterns),
    ))
}
