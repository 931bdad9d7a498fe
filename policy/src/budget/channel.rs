//! Bounds on a cell's channel to the gateway, and the tariff of what goes over it.
//!
//! One task of a cell drives it. What a request took of a processor there, measured by
//! `cell::network::tests::what_a_request_and_a_byte_cost` on 2 busy cores of a virtual machine:
//!
//! | bytes each way | one at a time, so that the task is woken | ten or fifty at once | price |
//! | --- | --- | --- | --- |
//! | 0 | 65 us | 9 us | 65 us |
//! | 1 KiB | 61 us | 26 us | 67 us |
//! | 64 KiB | 155 us | 88 us | 193 us |
//! | 1 MiB | 1.9 ms | 1.8 ms | 2.1 ms |
//!
//! The price is that of one at a time: a guest that leaves one request open would have all others
//! cheaper than they are.

use super::bound::{SECOND, bounds};

bounds! {
    "A cell's channel to the gateway":
    CHANNEL_CONNECT = Milliseconds(2 * SECOND), "How long the gateway may take to take a connection", "`internal-error`";
    CHANNEL_RETRY = Milliseconds(SECOND), "The longest time between two attempts to reach it", "the request waits";
    CHANNEL_PING = Milliseconds(10 * SECOND), "How long a gateway with requests in flight may be silent before it is asked whether it lives, and then to answer", "`internal-error`, and a new channel";
    CHANNEL_REQUEST_COST = Nanoseconds(65_000), "CPU time that a VM pays for each request, besides that of its own calls", "`limits.cpu`";
    CHANNEL_KIB_COST = Nanoseconds(1_000), "CPU time that it pays for each KiB of bodies", "`limits.cpu`";
}
