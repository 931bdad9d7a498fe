//! A gateway, one VM behind its channel, and what the VM asks.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER};
use agentvm_gateway::connect::Tls;
use agentvm_gateway::forward::Gateway;
use agentvm_gateway::outcome::{Observe, Outcome};
use agentvm_gateway::resolve::Resolver;
use agentvm_gateway::serve::serve;
use agentvm_gateway::vm::{Terms, Vm, Vms};
use agentvm_policy::budget;
use agentvm_policy::egress::{Rule, RuleText, Rules};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;

use agentvm_tests::internet::dns::{self, Dns};

/// The UID of the VM that a world begins with.
pub(crate) const UID: &str = "u1";

/// Everything between a guest and the internet.
pub(crate) struct World {
    pub(crate) dns: Dns,
    pub(crate) vm: Arc<Vm>,
    pub(crate) outcomes: Outcomes,
    gateway: Arc<Gateway>,
    vms: Arc<Vms>,
    sender: http2::SendRequest<Sent>,
}

/// A request's body.
pub(crate) type Sent = BoxBody<Bytes, Infallible>;

/// What became of each request of the VM that a world begins with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcomes(Arc<Mutex<Vec<Outcome>>>);

impl Observe for Outcomes {
    fn ended(&self, outcome: Outcome) {
        self.0.lock().unwrap().push(outcome);
    }
}

impl Outcomes {
    /// The outcomes, once there are as many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Outcome> {
        until(|| self.0.lock().unwrap().len() >= count).await;
        self.0.lock().unwrap().clone()
    }
}

/// Waits until something holds, and not for ever.
pub(crate) async fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to hold");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What a guest gets; nothing where the answer broke off before its headers were read.
#[derive(Debug, Default)]
pub(crate) struct Got {
    /// The gateway's own code, where it is its own answer.
    pub(crate) error: Option<String>,
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    /// `None` where it broke off.
    pub(crate) body: Option<String>,
}

/// A rule for `host` that allows every method and path.
pub(crate) fn rule(host: &str, scheme: &str, ports: &[u16]) -> Rule {
    Rule::parse(&RuleText {
        ports: ports.to_vec(),
        scheme: Some(scheme.to_owned()),
        ..RuleText::new(host, &["*"], &["*"])
    })
    .unwrap()
}

/// Terms with these rules and nothing else.
pub(crate) fn terms(rules: Vec<Rule>) -> Terms {
    Terms {
        rules: Rules::new(rules),
        ..Terms::default()
    }
}

impl World {
    pub(crate) async fn new(terms: Terms) -> Self {
        Self::trusting(RootCertStore::empty(), terms).await
    }

    pub(crate) async fn trusting(roots: RootCertStore, terms: Terms) -> Self {
        let dns = Dns::start().await;
        let resolver = Resolver::new(&[dns::ADDRESS]).unwrap();
        let gateway = Arc::new(Gateway::new(resolver, Tls::new(roots).unwrap()));
        let outcomes = Outcomes::default();
        let vms = Arc::new(Vms::default());
        let vm = Vm::observed(terms, Arc::new(outcomes.clone()));
        vms.insert(UID, vm.clone());
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        tokio::spawn(serve(gateway.clone(), vms.clone(), theirs));
        // As a cell does: what one stream holds is no other's.
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(budget::STREAM_BYTES.u32())
            .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
            .handshake(TokioIo::new(ours))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self {
            dns,
            vm,
            outcomes,
            gateway,
            vms,
            sender,
        }
    }

    /// Adds a VM of the same namespace.
    pub(crate) fn add(&self, uid: &str, terms: Terms) -> Arc<Vm> {
        let vm = Vm::new(terms);
        self.vms.insert(uid, vm.clone());
        vm
    }

    /// Another end of a channel of the same namespace, on which nothing was said yet.
    pub(crate) fn channel(&self) -> tokio::net::UnixStream {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        tokio::spawn(serve(self.gateway.clone(), self.vms.clone(), theirs));
        ours
    }

    /// Asks for `url` and reads the whole answer.
    pub(crate) async fn get(&self, url: &str) -> Got {
        self.ask(Request::get(url)).await
    }

    /// Sends a request without a body.
    pub(crate) async fn ask(&self, request: http::request::Builder) -> Got {
        self.send(request, Bytes::new()).await
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: http::request::Builder, body: Bytes) -> Got {
        match self.open(request, body).await {
            Ok(answer) => Got::whole(answer).await,
            Err(_broke_off) => Got::default(),
        }
    }

    /// Asks for `url` as the VM `uid`, and reads the whole answer.
    pub(crate) async fn get_as(&self, uid: &str, url: &str) -> Got {
        let body = Full::new(Bytes::new()).boxed();
        match self.open_as(uid, Request::get(url), body).await {
            Ok(answer) => Got::whole(answer).await,
            Err(_broke_off) => Got::default(),
        }
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn open(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> hyper::Result<Response<Incoming>> {
        self.open_as(UID, request, Full::new(body).boxed()).await
    }

    /// Sends a request of the VM `uid`; the answer's body is still to come.
    pub(crate) async fn open_as(
        &self,
        uid: &str,
        request: http::request::Builder,
        body: Sent,
    ) -> hyper::Result<Response<Incoming>> {
        let request = request.header(VM_HEADER, uid).body(body).unwrap();
        let answer = self.sender.clone().send_request(request);
        let within = Duration::from_secs(30);
        tokio::time::timeout(within, answer).await.unwrap()
    }
}

impl Got {
    /// Reads the rest of an answer.
    pub(crate) async fn whole(answer: Response<Incoming>) -> Self {
        let error = answer.headers().get(ERROR_HEADER).cloned();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.ok();
        Self {
            error: error.map(|code| code.to_str().unwrap().to_owned()),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()),
        }
    }

    pub(crate) fn refused_as(&self, code: &str) {
        assert_eq!(self.error.as_deref(), Some(code), "{self:?}");
    }
}
