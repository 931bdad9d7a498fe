//! How much one VM may send and get, and how long things may take.

use std::time::Duration;

use agentvm_policy::budget;

use crate::guards::{Guard, is_on};

/// The smallest buffer that the HTTP library works with.
const LEAST_BUFFER: usize = 8 << 10;

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
    /// Bytes of bodies, both ways, in a second; what is over waits.
    pub egress_bytes_per_second: u64,
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
            egress_bytes_per_second: budget::EGRESS_RATE.value,
            connect: budget::CONNECT_WITHIN.duration(),
            first_byte: budget::FIRST_BYTE_WITHIN.duration(),
            idle: budget::BODY_IDLE.duration(),
            total: budget::REQUEST_WITHIN.duration(),
        }
    }
}

impl Limits {
    /// Requests in flight at a time: those that are allowed, as far as what their bodies hold is
    /// bounded.
    pub(crate) fn in_flight(&self) -> usize {
        if is_on(Guard::StreamBound) {
            self.requests.min(budget::VM_STREAMS.usize())
        } else {
            self.requests
        }
    }

    /// Bytes that may wait at each place on the way of one body, so that everything of a VM with
    /// all its requests in flight is no more than [`budget::VM_HELD_BYTES`].
    pub(crate) fn buffer_bytes(&self) -> usize {
        if !is_on(Guard::HeldShare) {
            return budget::BUFFER_BYTES.usize();
        }
        let of_each = budget::VM_HELD_BYTES.usize() / self.in_flight().max(1);
        // Two windows of the channel, and four places.
        let place = of_each.saturating_sub(2 * budget::WINDOW_BYTES.usize()) / 4;
        place.clamp(LEAST_BUFFER, budget::BUFFER_BYTES.usize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    fn of(requests: usize) -> Limits {
        Limits {
            requests,
            ..Limits::default()
        }
    }

    /// What one of so many requests holds, and all of them.
    fn held(requests: usize) -> (usize, usize) {
        let limits = of(requests);
        let each = 2 * budget::WINDOW_BYTES.usize() + 4 * limits.buffer_bytes();
        (each, limits.in_flight() * each)
    }

    #[test]
    fn d07_f27_all_requests_of_a_vm_together_hold_no_more_than_one_may() {
        for requests in [1, 8, 32, 96, 1_024, usize::MAX] {
            let (each, all) = held(requests);
            assert!(all <= budget::VM_HELD_BYTES.usize(), "{requests}: {all}");
            assert!(
                each <= budget::STREAM_HELD_BYTES.usize(),
                "{requests}: {each}"
            );
        }
        let (_, without) = switch_off(Guard::HeldShare, || held(96));
        assert!(without > 2 * budget::VM_HELD_BYTES.usize(), "{without}");
        let (_, without) = switch_off(Guard::StreamBound, || held(1_024));
        assert!(without > budget::VM_HELD_BYTES.usize(), "{without}");
        assert_eq!(of(1).buffer_bytes(), budget::BUFFER_BYTES.usize());
        assert!(of(usize::MAX).buffer_bytes() >= LEAST_BUFFER);
    }
}
