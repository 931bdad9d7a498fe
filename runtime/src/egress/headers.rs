//! Which headers a guest may set, and how many.

use agentvm_policy::budget;
use http::header::{
    CONNECTION, EXPECT, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE,
};

/// The most headers of one message.
pub(crate) const MAX_HEADERS: usize = budget::HEADERS.usize();
/// The most bytes of their names and values.
pub(crate) const MAX_HEADER_BYTES: usize = budget::HEADER_BYTES.usize();

/// What frames a message, or speaks of one connection: the host writes those.
const OF_THE_HOST: [HeaderName; 9] = [
    CONNECTION,
    EXPECT,
    HOST,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Others of that kind, whose names have no constant.
const OF_THE_HOST_BY_NAME: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// What begins the names of headers between a cell and the gateway.
const OWN_PREFIX: &str = "agentvm-";

/// Whether a guest neither sets `name` nor sees it.
pub(crate) fn is_forbidden(name: &HeaderName) -> bool {
    OF_THE_HOST.contains(name)
        || OF_THE_HOST_BY_NAME.contains(&name.as_str())
        || name.as_str().starts_with(OWN_PREFIX)
}

/// Whether `headers` are neither too many nor too long.
pub(crate) fn fit(headers: &HeaderMap) -> bool {
    headers.len() <= MAX_HEADERS && bytes(headers) <= MAX_HEADER_BYTES
}

/// The bytes of all names and values.
pub(crate) fn bytes(headers: &HeaderMap) -> usize {
    let one = |(name, value): (&HeaderName, &http::HeaderValue)| name.as_str().len() + value.len();
    headers.iter().map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f18_what_frames_a_message_is_not_the_guests() {
        for name in [
            "connection",
            "expect",
            "host",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "keep-alive",
            "proxy-connection",
            "proxy-authorization",
            "http2-settings",
            "agentvm-vm",
            "agentvm-error",
        ] {
            assert!(is_forbidden(&HeaderName::from_static(name)), "{name}");
        }
        for name in ["accept", "authorization", "content-length", "x-agentvm-vm"] {
            assert!(!is_forbidden(&HeaderName::from_static(name)), "{name}");
        }
    }
}
