//! Bounds on requests to hosts outside and on the rules that permit them.

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
    REQUESTS_IN_FLIGHT = Count(32), "Requests of one VM in flight where nothing else is said", "`connection-limit-reached`";
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
    EGRESS_RATE = Bytes(10 << 20), "Bytes of bodies, both ways, that a VM moves in a second", "waits";
    EGRESS_BURST = Milliseconds(200), "How far ahead of that rate it may be", "waits";
    REQUESTS_WAITING = Count(64), "Requests of one VM that wait until fewer are in flight", "`connection-limit-reached`";
    VM_STREAMS = Count(96), "Requests of one VM that the gateway has in flight, whatever `limits.connections` allows: their bodies hold no more than the next row says", "waits, then `connection-timeout`";
    VM_HELD_BYTES = Bytes(8 << 20), "Bytes of bodies of one VM that the gateway holds", "waits";
    STREAM_HELD_BYTES = Bytes(1 << 20), "Bytes of both bodies of one request that the gateway holds", "waits";
    BUFFER_BYTES = Bytes(64 << 10), "Of these, at each place where they wait", "waits";
    SOCKET_BYTES = Bytes(256 << 10), "Bytes that wait in the kernel, each way of a connection to a host", "waits";
    ADDRESS_WITHIN = Milliseconds(3 * SECOND), "A connection to one of the addresses of a host", "the next address; `connection-timeout`";
    IDLE_CONNECTIONS_OF_A_VM = Count(8), "Connections that a VM has open and does not use", "the oldest is closed";
    IDLE_CONNECTIONS = Count(1_024), "Connections that all VMs of a node have open and do not use", "closed after use";
    IDLE_CONNECTION = Milliseconds(15 * SECOND), "How long a connection is kept open for another request", "closed";
    STREAM_BYTES = Bytes(64 << 10), "Bytes of one answer's body that wait on their way into a cell", "waits";
    WINDOW_BYTES = Bytes(16 << 10), "Bytes of one request's body that wait on their way out of a cell", "waits";
    CHANNEL_STREAMS = Count(1 << 16), "Requests of one cell in flight", "waits";
    CHANNEL_BYTES = Bytes((1 << 31) - 1), "Bytes of all bodies of one cell that wait to be sent; each stream is bounded by itself", "waits";
    GATEWAY_BODY_BYTES = Bytes(4 << 20), "Rules and keys of one VM, as the agent brings them to the gateway", "refused";
    GATEWAY_OPEN_FILES = Count(65_536), "Descriptors of the gateway, or as many as the container may have", "`connection-refused`";
    GATEWAY_THREADS = Count(4), "Threads that carry requests, and one a core at most", "waits";
    GATEWAY_HELPERS = Count(2), "Threads for what blocks", "waits";
    CHANNELS_PER_NAMESPACE = Count(2), "Channels of one cell to the gateway", "the oldest is closed";
    CHANNEL_LINE_BYTES = Bytes(512), "The line with which a channel begins", "closed";
    CHANNEL_LINE_WITHIN = Milliseconds(5 * SECOND), "The wait for that line", "closed";
    REPORT_WINDOW = Milliseconds(30 * SECOND), "The time in which denials of a VM for one host and reason become one report", "counted in it";
    REPORTED_PER_VM = Count(32), "Hosts and reasons of one VM that are told apart in that time", "counted in the VM's next report";
    REPORTS_KEPT = Count(1_024), "Reports that wait for the agent", "the oldest is counted in its VM's next one";
    REPORTS_WAIT = Milliseconds(30 * SECOND), "The longest that the agent's question for reports is kept waiting", "answered with none";
    ACCESS_LOG_LINES = Count(4_096), "Lines of the access log that wait to be written", "dropped and counted";
    SHOWN_CHARS = Count(80), "Characters of a host, path or method in a message", "cut off";
}
