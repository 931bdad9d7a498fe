//! Bounds on a cell's channel to the gateway, and the tariff of what goes over it.

use super::bound::{SECOND, bounds};

bounds! {
    "A cell's channel to the gateway":
    CHANNEL_CONNECT = Milliseconds(2 * SECOND), "How long the gateway may take to take a connection", "`internal-error`";
    CHANNEL_RETRY = Milliseconds(SECOND), "The longest time between two attempts to reach it", "the request waits";
    CHANNEL_PING = Milliseconds(10 * SECOND), "How long a gateway with requests in flight may be silent before it is asked whether it lives, and then to answer", "`internal-error`, and a new channel";
    CHANNEL_REQUEST_COST = Nanoseconds(40_000), "CPU time that a VM pays for each request, besides that of its own calls", "`limits.cpu`";
    CHANNEL_KIB_COST = Nanoseconds(1_000), "CPU time that it pays for each KiB of bodies", "`limits.cpu`";
}
