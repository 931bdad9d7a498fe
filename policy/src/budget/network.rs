//! Bounds on requests to hosts outside and on the rules that permit them.
//!
//! Not in the document until a VM can make requests.
#![expect(
    dead_code,
    reason = "the section joins the document with the capability"
)]

use super::bound::bounds;

bounds! {
    "Requests to the network":
    HOST_CHARS = Count(253), "Characters of a host", "refused";
    LABEL_CHARS = Count(63), "Characters of one label of a host", "refused";
    TARGET_BYTES = Bytes(8 << 10), "Path and query of a request", "refused";
    RULE_PORTS = Count(16), "Ports of one rule", "the manifest is refused";
    RULE_PATHS = Count(32), "Paths of one rule", "the manifest is refused";
    SHOWN_CHARS = Count(80), "Characters of a host, path or method in a message", "cut off";
}
