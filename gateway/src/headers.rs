//! Which headers of a guest's request are sent, and which of an answer are handed on.

use agentvm_policy::budget;
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};

use crate::guards::{Guard, is_on};
use agentvm_policy::egress::Code;

/// What begins the names of headers between a cell and the gateway. None of them is ever sent, nor
/// taken from an answer.
pub const OWN_PREFIX: &str = "agentvm-";

/// Marks what comes from here, so that it is known when it comes back. The one header of that prefix
/// that is sent.
pub const HOP: HeaderName = HeaderName::from_static("agentvm-hop");

/// Headers that speak of one connection (RFC 9110, section 7.6.1), and `Expect`, whose answer would
/// come from here.
const OF_A_CONNECTION: [HeaderName; 8] = [
    CONNECTION,
    EXPECT,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Others of that kind, whose names have no constant.
const OF_A_CONNECTION_BY_NAME: [&str; 3] = ["keep-alive", "proxy-connection", "http2-settings"];

/// Headers by which some servers take a request for another one than was decided on, or for one of
/// somebody else.
const MISLEADING: [&str; 9] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-real-ip",
    "true-client-ip",
    "x-host",
];

/// The headers of a guest's request that are sent.
///
/// # Errors
///
/// [`Code::RequestHeaderSize`] where they are too many or too long, [`Code::RequestInvalid`] where
/// the length of the body is told twice or is no number, [`Code::LoopDetected`] where they are those
/// of a request that was sent from here.
pub fn of_request(given: &HeaderMap) -> Result<HeaderMap, Code> {
    bounded(given).map_err(|TooLarge| Code::RequestHeaderSize)?;
    one_length(given)?;
    if given.contains_key(HOP) && is_on(Guard::Loop) {
        return Err(Code::LoopDetected);
    }
    let mut sent = handed_on(given);
    for name in [HOST, FORWARDED, VIA] {
        sent.remove(name);
    }
    let misleading: Vec<HeaderName> = sent
        .keys()
        .filter(|name| is_misleading(name))
        .cloned()
        .collect();
    for name in misleading {
        sent.remove(name);
    }
    sent.insert(HOP, HeaderValue::from_static("1"));
    Ok(sent)
}

/// The headers of an answer that are handed to the guest.
///
/// # Errors
///
/// [`Code::ResponseHeaderSize`] where they are too many or too long, [`Code::Protocol`] where two
/// parsers would find the end of the answer at two places.
pub fn of_response(given: &HeaderMap) -> Result<HeaderMap, Code> {
    bounded(given).map_err(|TooLarge| Code::ResponseHeaderSize)?;
    let is_framed_twice =
        given.contains_key(TRANSFER_ENCODING) && given.contains_key(CONTENT_LENGTH);
    if is_framed_twice && is_on(Guard::OneLength) {
        return Err(Code::Protocol);
    }
    let mut handed = handed_on(given);
    // It invites to ports and protocols that the guest can't use.
    handed.remove(http::header::ALT_SVC);
    Ok(handed)
}

/// Whether a rule may inject a header of this name.
pub fn can_be_injected(name: &HeaderName) -> bool {
    *name != HOST
        && *name != CONTENT_LENGTH
        && !is_of_a_connection(name)
        && !is_misleading(name)
        && !name.as_str().starts_with(OWN_PREFIX)
}

struct TooLarge;

fn bounded(headers: &HeaderMap) -> Result<(), TooLarge> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    let over = headers.len() > budget::HEADERS.usize() || bytes > budget::HEADER_BYTES.usize();
    if over && is_on(Guard::HeaderBounds) {
        return Err(TooLarge);
    }
    Ok(())
}

/// A length that two servers would read differently is none (RFC 9112, section 6.3).
fn one_length(headers: &HeaderMap) -> Result<(), Code> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let (first, second) = (lengths.next(), lengths.next());
    let plain = |value: &http::HeaderValue| {
        !value.is_empty()
            && value.as_bytes().iter().all(u8::is_ascii_digit)
            && value.to_str().is_ok_and(|text| text.parse::<u64>().is_ok())
    };
    let odd = second.is_some() || first.is_some_and(|value| !plain(value));
    if odd && is_on(Guard::OneLength) {
        return Err(Code::RequestInvalid);
    }
    Ok(())
}

/// All but what speaks of one connection, and what `Connection` says does.
fn handed_on(given: &HeaderMap) -> HeaderMap {
    let named: Vec<String> = given
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let stays = |name: &HeaderName| {
        !is_of_a_connection(name)
            && !name.as_str().starts_with(OWN_PREFIX)
            && !named.iter().any(|named| named == name.as_str())
    };
    given
        .iter()
        .filter(|(name, _)| stays(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn is_of_a_connection(name: &HeaderName) -> bool {
    let is = OF_A_CONNECTION.contains(name) || OF_A_CONNECTION_BY_NAME.contains(&name.as_str());
    is && is_on(Guard::OfAConnection)
}

fn is_misleading(name: &HeaderName) -> bool {
    let is = MISLEADING.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded");
    is && is_on(Guard::Misleading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guards::switch_off;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    fn sent(all: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut sent = of_request(&headers(all)).unwrap();
        assert_eq!(sent.remove(HOP).unwrap(), "1");
        sent.keys().map(|name| name.as_str().to_owned()).collect()
    }

    #[test]
    fn ordinary_headers_are_sent_with_all_their_values() {
        let given = headers(&[("accept", "a"), ("accept", "b"), ("content-length", "7")]);
        let mut sent = of_request(&given).unwrap();
        sent.remove(HOP);
        assert_eq!(sent, given);
    }

    #[test]
    fn f14_what_makes_another_request_of_it_is_not_sent() {
        let odd = [
            ("connection", "close, x-named"),
            ("x-named", "1"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("expect", "100-continue"),
            ("proxy-authorization", "x"),
            ("host", "evil.example"),
            ("forwarded", "for=x"),
            ("via", "x"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-http-method-override", "DELETE"),
            ("x-original-url", "/admin"),
            ("agentvm-vm", "other"),
            ("user-agent", "mine"),
        ];
        assert_eq!(sent(&odd), ["user-agent"]);
    }

    #[test]
    fn f18_two_lengths_or_an_odd_one_are_refused() {
        for all in [
            &[("content-length", "5"), ("content-length", "5")][..],
            &[("content-length", "+5")],
            &[("content-length", "-5")],
            &[("content-length", "5, 5")],
            &[("content-length", "")],
            &[("content-length", "0x5")],
            &[("content-length", "99999999999999999999999")],
        ] {
            assert_eq!(
                of_request(&headers(all)),
                Err(Code::RequestInvalid),
                "{all:?}"
            );
        }
    }

    #[test]
    fn f25_too_many_or_too_long_headers_are_refused_both_ways() {
        let one = HeaderName::from_static("a");
        let mut many = HeaderMap::new();
        for _ in 0..=budget::HEADERS.usize() {
            many.append(one.clone(), HeaderValue::from_static("b"));
        }
        let long = "b".repeat(budget::HEADER_BYTES.usize());
        let long = HeaderMap::from_iter([(one, HeaderValue::from_str(&long).unwrap())]);
        for headers in [many, long] {
            assert_eq!(of_request(&headers), Err(Code::RequestHeaderSize));
            assert_eq!(of_response(&headers), Err(Code::ResponseHeaderSize));
        }
    }

    #[test]
    fn f14_f18_f25_each_guard_holds_back_what_is_sent_without_it() {
        let without = |guard, all: &[(&'static str, &'static str)]| {
            let given = headers(all);
            let sent = || {
                let mut sent = of_request(&given)?;
                sent.remove(HOP);
                Ok::<_, Code>(sent)
            };
            assert_ne!(sent().as_ref(), Ok(&given), "{guard:?}");
            switch_off(guard, sent).as_ref() == Ok(&given)
        };
        assert!(without(
            Guard::OfAConnection,
            &[("transfer-encoding", "chunked")]
        ));
        assert!(without(
            Guard::Misleading,
            &[("x-http-method-override", "DELETE")]
        ));
        let two = [("content-length", "5"), ("content-length", "6")];
        assert!(without(Guard::OneLength, &two));
        assert!(without(Guard::HeaderBounds, &[("a", "b"); 101]));
        let both = headers(&[("content-length", "5"), ("transfer-encoding", "chunked")]);
        assert_eq!(of_response(&both), Err(Code::Protocol));
        assert!(switch_off(Guard::OneLength, || of_response(&both)).is_ok());
    }

    #[test]
    fn f30_a_request_that_was_sent_from_here_is_not_sent_again() {
        let first = of_request(&headers(&[("accept", "a")])).unwrap();
        assert_eq!(of_request(&first), Err(Code::LoopDetected));
        let looped = switch_off(Guard::Loop, || of_request(&first));
        assert_eq!(looped, Ok(first));
    }

    #[test]
    fn an_answer_can_not_speak_for_the_gateway() {
        let answer = headers(&[("agentvm-error", "x"), ("alt-svc", "h3"), ("etag", "1")]);
        assert_eq!(of_response(&answer).unwrap(), headers(&[("etag", "1")]));
    }

    #[test]
    fn what_frames_or_routes_a_request_can_not_be_injected() {
        for name in [
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "agentvm-vm",
        ] {
            assert!(!can_be_injected(&HeaderName::from_static(name)), "{name}");
        }
        assert!(can_be_injected(&http::header::AUTHORIZATION));
    }
}
