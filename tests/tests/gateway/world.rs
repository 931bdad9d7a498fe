//! A gateway, one VM behind its channel, and what the VM asks.

use std::sync::Arc;
use std::time::Duration;

use agentvm_cell_api::gateway::{ERROR_HEADER, VM_HEADER};
use agentvm_gateway::connect::Tls;
use agentvm_gateway::forward::Gateway;
use agentvm_gateway::resolve::Resolver;
use agentvm_gateway::serve::serve;
use agentvm_gateway::vm::{Terms, Vm, Vms};
use agentvm_policy::egress::{Rule, RuleText, Rules};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;

use crate::dns::{self, Dns};

/// The UID of the one VM.
const UID: &str = "u1";

/// Everything between a guest and the internet.
pub(crate) struct World {
    pub(crate) dns: Dns,
    pub(crate) vm: Arc<Vm>,
    sender: http2::SendRequest<Full<Bytes>>,
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
        let (vms, vm) = (Arc::new(Vms::default()), Vm::new(terms));
        vms.insert(UID, vm.clone());
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        tokio::spawn(serve(gateway, vms, theirs));
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(ours))
            .await
            .unwrap();
        tokio::spawn(connection);
        Self { dns, vm, sender }
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
        let Ok(answer) = self.open(request, body).await else {
            return Got::default();
        };
        let error = answer.headers().get(ERROR_HEADER).cloned();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.ok();
        Got {
            error: error.map(|code| code.to_str().unwrap().to_owned()),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()),
        }
    }

    /// Sends a request; the answer's body is still to come.
    pub(crate) async fn open(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> hyper::Result<Response<Incoming>> {
        let request = request
            .header(VM_HEADER, UID)
            .body(Full::new(body))
            .unwrap();
        let answer = self.sender.clone().send_request(request);
        let within = Duration::from_secs(30);
        tokio::time::timeout(within, answer).await.unwrap()
    }
}

impl Got {
    pub(crate) fn refused_as(&self, code: &str) {
        assert_eq!(self.error.as_deref(), Some(code), "{self:?}");
    }
}
