//! How much one VM may send and get, and how long things may take.

use std::time::Duration;

use agentvm_policy::budget;

/// Bounds on the requests of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight.
    pub requests: usize,
    /// Bytes of one request's body.
    pub request_bytes: u64,
    /// Bytes of one answer's body.
    pub response_bytes: u64,
    /// Bytes of bodies sent in the VM's whole life.
    pub egress_bytes: u64,
    /// From the request to a connection: the turn, the name, TCP and TLS.
    pub connect: Duration,
    /// From the connection to the answer's headers.
    pub first_byte: Duration,
    /// Between two pieces of a body.
    pub idle: Duration,
    /// From the request to the last byte of its answer.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: budget::REQUESTS_IN_FLIGHT.usize(),
            request_bytes: budget::REQUEST_BODY_BYTES.value,
            response_bytes: budget::RESPONSE_BODY_BYTES.value,
            egress_bytes: budget::EGRESS_BYTES.value,
            connect: budget::CONNECT_WITHIN.duration(),
            first_byte: budget::FIRST_BYTE_WITHIN.duration(),
            idle: budget::BODY_IDLE.duration(),
            total: budget::REQUEST_WITHIN.duration(),
        }
    }
}
