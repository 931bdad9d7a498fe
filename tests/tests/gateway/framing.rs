//! One request is one message on the wire, and an answer that is none is an error.

use bytes::Bytes;
use http::Request;

use crate::world::{World, rule, terms};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{at_once, plain};

const URL: &str = "http://api.heron.example/";

async fn answered(text: &str) -> crate::world::Got {
    let world = World::new(terms(vec![rule("api.heron.example", "http", &[80])])).await;
    world.dns.addresses("api.heron.example", &["93.184.0.1"]);
    let _host = plain("93.184.0.1:80", at_once(text)).await;
    world.get(URL).await
}

#[test]
fn f18_a_body_is_framed_once_and_nothing_follows_it() {
    alone(|| async {
        let world = World::new(terms(vec![rule("api.heron.example", "http", &[80])])).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let seen = plain("93.184.0.1:80", agentvm_tests::internet::upstream::ok("")).await;
        let smuggled = "0\r\n\r\nGET /admin HTTP/1.1\r\nHost: api.heron.example\r\n\r\n";
        let request = Request::post(URL).header("transfer-encoding-x", "chunked");
        assert_eq!(world.send(request, Bytes::from(smuggled)).await.status, 200);
        let sent = &seen.requests()[0];
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("content-length: {}", smuggled.len())),
            "{head}"
        );
        assert_eq!(body, smuggled);
        assert_eq!(seen.connections(), 1);
    });
}

#[test]
fn f18_an_answer_that_two_parsers_would_read_differently_is_none() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "SSH-2.0-x\r\n\r\n",
        "\0\0\0",
    ] {
        alone(move || async move {
            let got = answered(text).await;
            assert_eq!(
                got.error.as_deref(),
                Some("HTTP-protocol-error"),
                "{text:?}: {got:?}"
            );
        });
    }
}

#[test]
fn f18_an_answer_that_breaks_off_or_is_badly_chunked_has_no_end() {
    for text in [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n",
    ] {
        alone(move || async move {
            let got = answered(text).await;
            assert_eq!((got.error, got.body), (None, None), "{text:?}");
        });
    }
}

#[test]
fn an_upgrade_or_the_gateways_own_headers_in_an_answer_are_not_handed_on() {
    alone(|| async {
        let got =
            answered("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n").await;
        got.refused_as("HTTP-protocol-error");
    });
    alone(|| async {
        let text = "HTTP/1.1 200 OK\r\nagentvm-error: x\r\nConnection: x-hop\r\nx-hop: 1\r\nx-end: 2\r\nContent-Length: 0\r\n\r\n";
        let got = answered(text).await;
        let names: Vec<&str> = got.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["x-end", "content-length"]);
    });
}
