//! What a request costs its VM beyond its own polls: the work of the task that drives the channel.
//!
//! That task works for every VM, and measuring each piece would cost more than the piece: so
//! requests and bytes have a price. The test `what_a_request_and_a_byte_cost` is how it was found.

use std::time::Duration;

use agentvm_policy::budget;

use crate::guards::{Guard, is_on};

/// What a request and its answer cost, without their bodies.
pub(super) fn request() -> Duration {
    priced(budget::CHANNEL_REQUEST_COST.value)
}

/// What `bytes` of a body cost.
pub(super) fn bytes(bytes: usize) -> Duration {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    priced(bytes.saturating_mul(budget::CHANNEL_KIB_COST.value) / 1_024)
}

fn priced(nanos: u64) -> Duration {
    if is_on(Guard::ChannelCharge) {
        Duration::from_nanos(nanos)
    } else {
        Duration::ZERO
    }
}
