//! Bounds on requests to hosts outside and on the rules that permit them.
//!
//! Not in the document until a VM can make requests.
#![expect(
    dead_code,
    reason = "the section joins the document with the capability"
)]

use super::bound::{MINUTE, SECOND, bounds};

bounds! {
    "Requests to the network":
    HOST_CHARS = Count(253), "Characters of a host", "refused";
    LABEL_CHARS = Count(63), "Characters of one label of a host", "refused";
    TARGET_BYTES = Bytes(8 << 10), "Path and query of a request", "refused";
    RULE_PORTS = Count(16), "Ports of one rule", "the manifest is refused";
    RULE_PATHS = Count(32), "Paths of one rule", "the manifest is refused";
    HEADERS = Count(100), "Headers of a request or an answer", "refused; an answer: `HTTP-response-header-section-size`";
    HEADER_BYTES = Bytes(32 << 10), "Names and values of those headers", "refused; an answer: `HTTP-response-header-section-size`";
    REQUESTS_IN_FLIGHT = Count(32), "Requests of one VM in flight", "waits, then `connection-timeout`";
    REQUEST_BODY_BYTES = Bytes(64 << 20), "The body of a request", "`HTTP-request-body-size`";
    RESPONSE_BODY_BYTES = Bytes(256 << 20), "The body of an answer", "`HTTP-response-body-size`";
    EGRESS_BYTES = Bytes(100 << 20), "Bytes of bodies that a VM sends in all", "`HTTP-request-body-size`";
    CONNECT_WITHIN = Milliseconds(10 * SECOND), "From a request to a connection, the wait for its turn and the name included", "`connection-timeout`";
    FIRST_BYTE_WITHIN = Milliseconds(MINUTE), "From the connection to the headers of the answer", "`HTTP-response-timeout`";
    BODY_IDLE = Milliseconds(MINUTE), "Between two pieces of a body", "`HTTP-response-timeout`";
    REQUEST_WITHIN = Milliseconds(10 * MINUTE), "From a request to the last byte of its answer", "broken off";
    DNS_ANSWER = Milliseconds(2 * SECOND), "The wait for one answer of a name server", "`DNS-timeout`";
    DNS_NAMES = Count(1_024), "Names whose addresses are remembered", "asked again";
    DNS_KEPT = Milliseconds(MINUTE), "The longest time for which they are remembered", "asked again";
    DNS_ADDRESSES = Count(32), "Addresses of one name", "`DNS-error`";
    STREAM_BYTES = Bytes(64 << 10), "Bytes of one body that wait at each place where they may", "waits";
    CHANNEL_STREAMS = Count(4_096), "Requests of one cell in flight", "waits";
    CHANNEL_BYTES = Bytes((1 << 31) - 1), "Bytes of all bodies of one cell that wait to be sent; each stream is bounded by itself", "waits";
    SHOWN_CHARS = Count(80), "Characters of a host, path or method in a message", "cut off";
}
