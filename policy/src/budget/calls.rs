//! Bounds on one host call.

use super::bound::bounds;

bounds! {
    "One host call":
    CALL_BUFFERS = Count(1_024), "Buffers of one call of preview1 that are looked at", "a shorter count: the guest calls again";
    EXCHANGE_BYTES = Bytes(128 << 10), "What a request in flight counts of `limits.memory`: the headers and the pieces of bodies that the host holds", "`connection-limit-reached`";
    PIPE_BYTES = Bytes(32 << 10), "Bytes of a request's body that a core module has written and nobody has taken", "EAGAIN, or waits";
    BODY_PIECE_BYTES = Bytes(16 << 10), "Bytes that a component writes to the body of a request at once", "a shorter count: the guest calls again";
    METHOD_CHARS = Count(16), "Characters of a method", "EINVAL; a component: the call fails";
    AUTHORITY_CHARS = Count(264), "Characters of a host and its port", "EINVAL; a component: the call fails";
    SHORTEST_WAIT = Milliseconds(1), "The shortest time for which a component waits for an answer, whatever it says", "that time";
    SUBSCRIPTIONS = Count(1_024), "Subscriptions of one `poll_oneoff`", "EINVAL";
    WRITE_BYTES = Bytes(64 << 10), "Bytes that one call writes to stdout or stderr, and that a stream of a component reads or writes", "a shorter count: the guest calls again";
    RANDOM_BYTES = Bytes(64 << 10), "Random bytes of one call of a component", "traps";
    CHUNK_BYTES = Bytes(64 << 10), "Bytes of a longer call of preview1 after which the guest pays and can be stopped", "it goes on";
    TRANSFER_BYTES = Bytes(0x7fff_f000), "Bytes that one call of preview1 reads from a file or writes to it", "a shorter count: the guest calls again";
    LISTED_ENTRIES = Count(256), "Entries of a directory after which a guest of preview1 pays and can be stopped", "it goes on";
    HELD_ENTRIES = Count(16), "Entries that the host holds for a component that lists a directory", "read again";
}
