//! What became of one request: for the access log, the counts and the reports.

use std::fmt;
use std::time::Duration;

use agentvm_policy::egress::Request;
use http::StatusCode;

use crate::refusal::Refusal;

/// What became of one request, told once, when its last byte has gone.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was asked, where it has a canonical form. Its path and query are in it: they are
    /// nobody's business but the rules'.
    pub request: Option<Request>,
    /// The rule whose terms hold, from 0.
    pub rule: Option<usize>,
    /// What the upstream answered.
    pub status: Option<StatusCode>,
    /// Why there is no answer, or why it ends early. With neither this nor `status` the guest gave
    /// up before there was one.
    pub refusal: Option<Refusal>,
    /// Bytes of the body that was sent.
    pub sent_bytes: u64,
    /// Bytes of the body that came back.
    pub received_bytes: u64,
    /// For how long its bodies waited for the VM's rate.
    pub throttled: Duration,
    /// From the request to its last byte.
    pub took: Duration,
}

/// Who is told of each request of a VM.
pub trait Observe: fmt::Debug + Send + Sync {
    /// Takes one down. It must not wait: requests do until it is back.
    fn ended(&self, outcome: Outcome);
}
