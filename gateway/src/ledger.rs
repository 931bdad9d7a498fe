//! What becomes of each request: a line of the access log, and a report where it was denied.

use std::sync::Arc;
use std::time::Instant;

use agentvm_policy::egress::{Code, Request};
use jiff::Timestamp;
use serde::Serialize;

use crate::access_log::{AccessLog, Asked, Line};
use crate::outcome::{Observe, Outcome};
use crate::refusal::Refusal;
use crate::reports::{Reports, What};

/// Where outcomes go.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) access_log: AccessLog,
    pub(crate) reports: Reports,
}

/// Whose requests they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Identity {
    namespace: String,
    vm: String,
    uid: String,
}

impl Identity {
    /// The VM `name` of `namespace`.
    pub(crate) fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            vm: name.to_owned(),
            uid: uid.to_owned(),
        }
    }
}

impl Ledger {
    /// Writes down the requests of one VM.
    pub(crate) fn of(self: &Arc<Self>, identity: Identity) -> Arc<dyn Observe> {
        Arc::new(OfVm {
            ledger: self.clone(),
            identity,
        })
    }
}

#[derive(Debug)]
struct OfVm {
    ledger: Arc<Ledger>,
    identity: Identity,
}

impl Observe for OfVm {
    fn ended(&self, outcome: Outcome) {
        if let Some((what, message)) = denial(&outcome) {
            let reports = &self.ledger.reports;
            reports.deny(Instant::now(), &self.identity.uid, &what, message);
        }
        if self.ledger.access_log.is_on() {
            let line = line(self.identity.clone(), &outcome, Timestamp::now());
            self.ledger.access_log.write(line);
        }
    }
}

/// What is told of a request that a rule, an address or its form denied; a host that is down is
/// nothing that anybody denied.
fn denial(outcome: &Outcome) -> Option<(What, String)> {
    let refusal = outcome.refusal.as_ref()?;
    let code = refusal.code();
    if !is_denial(code) {
        return None;
    }
    let message = sentence(outcome.request.as_ref(), refusal);
    let host = outcome
        .request
        .as_ref()
        .map(|request| request.host.to_string());
    let host = host.unwrap_or_default();
    Some((What { host, code }, message))
}

const fn is_denial(code: Code) -> bool {
    match code {
        Code::Denied
        | Code::AddressProhibited
        | Code::RequestInvalid
        | Code::RequestHeaderSize
        | Code::LoopDetected => true,
        Code::RequestBodySize
        | Code::Dns
        | Code::DnsTimeout
        | Code::ConnectionRefused
        | Code::ConnectionTimeout
        | Code::ConnectionLimit
        | Code::TlsProtocol
        | Code::TlsCertificate
        | Code::Protocol
        | Code::ResponseTimeout
        | Code::ResponseHeaderSize
        | Code::ResponseBodySize
        | Code::ResponseContentCoding
        | Code::Internal => false,
    }
}

fn sentence(request: Option<&Request>, refusal: &Refusal) -> String {
    match request {
        Some(request) => {
            let Request {
                method,
                scheme,
                host,
                port,
                target: _,
            } = request;
            let method = method.as_str();
            format!("{method} {scheme}://{host}:{port} was denied: {refusal}")
        }
        // The refusal of what can't be read may quote it, path and all.
        None => "a request without a canonical form was denied".to_owned(),
    }
}

fn line(identity: Identity, outcome: &Outcome, now: Timestamp) -> Line {
    let Outcome {
        request,
        rule,
        status,
        refusal,
        sent_bytes,
        received_bytes,
        throttled: _,
        took,
    } = outcome;
    Line {
        time: now.round(jiff::Unit::Millisecond).unwrap_or(now),
        identity,
        rule: *rule,
        asked: request.as_ref().map(asked),
        status: status.map(|status| status.as_u16()),
        code: refusal.as_ref().map(|refusal| refusal.code().as_str()),
        sent_bytes: *sent_bytes,
        received_bytes: *received_bytes,
        ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
    }
}

fn asked(request: &Request) -> Asked {
    Asked {
        method: request.method.as_str(),
        scheme: request.scheme.as_str(),
        host: request.host.to_string(),
        port: request.port,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentvm_policy::egress::Denial;

    use super::*;

    const CANARY: &str = "CANARY-77";

    fn outcome(refusal: Option<Refusal>) -> Outcome {
        let target = format!("/{CANARY}?key={CANARY}");
        let request = Request::parse("GET", "https", "a.example", &target).unwrap();
        Outcome {
            request: Some(request),
            rule: None,
            status: None,
            refusal,
            sent_bytes: 1,
            received_bytes: 2,
            throttled: Duration::ZERO,
            took: Duration::from_millis(3),
        }
    }

    #[test]
    fn h07_neither_log_nor_report_has_a_path_or_a_query() {
        let outcome = outcome(Some(Refusal::Denied(Denial::Path)));
        let line = line(
            Identity::new("heron", "crane", "u"),
            &outcome,
            Timestamp::UNIX_EPOCH,
        );
        let line = serde_json::to_string(&line).unwrap();
        assert_eq!(
            line,
            r#"{"time":"1970-01-01T00:00:00Z","namespace":"heron","vm":"crane","uid":"u","method":"GET","scheme":"https","host":"a.example","port":443,"code":"HTTP-request-denied","sentBytes":1,"receivedBytes":2,"ms":3}"#
        );
        let (what, message) = denial(&outcome).unwrap();
        assert_eq!(what.host, "a.example");
        assert_eq!(
            message,
            "GET https://a.example:443 was denied: a rule allows the host with this method, and not for this path"
        );
    }

    #[test]
    fn what_has_no_canonical_form_is_not_quoted() {
        let bad = Request::parse("GET", "https", "a.example", &format!("/{CANARY}/../x"));
        let mut outcome = outcome(Some(bad.unwrap_err().into()));
        outcome.request = None;
        let (what, message) = denial(&outcome).unwrap();
        assert_eq!(what.host, "");
        assert!(!message.contains(CANARY), "{message}");
    }

    #[test]
    fn a_host_that_is_down_and_an_answer_are_no_denials() {
        assert_eq!(denial(&outcome(None)), None);
        let down = outcome(Some(Code::ConnectionRefused.into()));
        assert_eq!(denial(&down), None);
    }
}
