//! From what a guest asks of the network to the bytes that are sent.
//!
//! [`check()`] reads arbitrary bytes as a request, decides on it as the gateway does, writes what is
//! permitted as the gateway does, and reads the bytes back by a parser of its own: one request, for
//! the host, the path and the method that were permitted, and nothing else.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "only tests use it: what is unexpected shall fail them"
)]

mod asked;
mod sent;

use std::sync::OnceLock;

use agentvm_policy::egress::{Permit, Request, Rule, RuleText, Rules};

pub use asked::Asked;
use sent::Sent;

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Became {
    /// It has no canonical form, or no rule allows it, or its headers are none.
    Refused,
    /// It was sent as it was permitted.
    Sent,
}

/// Decides on the request that `bytes` stand for, and looks at what is sent of it.
pub fn check(bytes: &[u8]) -> Became {
    let asked = Asked::read(bytes);
    let Ok(canonical) = Request::of_url(&asked.method, &asked.url) else {
        return Became::Refused;
    };
    again(&canonical);
    let Ok(permit) = rules().permit(canonical) else {
        return Became::Refused;
    };
    let Ok(headers) = agentvm_gateway::headers::of_request(&asked.headers) else {
        return Became::Refused;
    };
    let sent = Sent::of(&permit, headers);
    as_permitted(&permit, &sent);
    Became::Sent
}

/// The canonical form is its own canonical form, in whichever parts it is told.
fn again(canonical: &Request) {
    let Request {
        method,
        scheme,
        host: _,
        port: _,
        target,
    } = canonical;
    let target = target.to_string();
    let authority = canonical.authority();
    let parts = Request::parse(method.as_str(), &scheme.to_string(), &authority, &target);
    assert_eq!(parts.as_ref(), Ok(canonical), "not its own form");
}

/// What is on the wire is what was permitted, and the same rule permits it again.
fn as_permitted(permit: &Permit, sent: &Sent) {
    let request = permit.request();
    assert_eq!(sent.method, request.method.as_str());
    assert_eq!(sent.target, request.target.to_string());
    assert_eq!(sent.hosts, [request.authority()]);
    let scheme = request.scheme.to_string();
    let host = sent.hosts.first().map(String::as_str).unwrap_or_default();
    let read = Request::parse(&sent.method, &scheme, host, &sent.target).expect("was permitted");
    assert_eq!(&read, request);
    let decided = rules().permit(read).expect("was permitted");
    assert_eq!(decided.rule(), permit.rule());
}

/// Rules of every shape.
fn rules() -> &'static Rules {
    static RULES: OnceLock<Rules> = OnceLock::new();
    RULES.get_or_init(|| {
        let of = |host: &str, scheme: &str, methods: &[&str], paths: &[&str]| {
            let text = RuleText {
                scheme: Some(scheme.to_owned()),
                ports: vec![80, 443, 8080],
                ..RuleText::new(host, methods, paths)
            };
            Rule::parse(&text).expect("is a rule")
        };
        Rules::new(vec![
            of("api.heron.example", "https", &["GET"], &["/v1/*"]),
            of("api.heron.example", "https", &["*"], &["/v1/admin", "/*/x"]),
            of("*.heron.example", "http", &["*"], &["*"]),
            of("93.184.0.0/16", "https", &["GET", "POST"], &["/*"]),
            of("2001:67c::1", "https", &["GET"], &["*"]),
        ])
    })
}
