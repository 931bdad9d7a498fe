//! Keys reach their origin, and come back from it covered.

use std::collections::BTreeMap;

use agentvm_gateway::inject::Injection;
use agentvm_gateway::secret::Secret;
use agentvm_gateway::vm::Terms;
use http::Request;

use crate::world::{World, rule, terms};
use agentvm_tests::internet::authority::Authority;
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{at_once, plain, secure};

const KEY: &str = "sk-CANARY-5f2d";

fn with_key() -> Terms {
    let key = Injection::new("authorization", "Bearer {}", Secret::from(KEY)).unwrap();
    Terms {
        injections: BTreeMap::from([(0, vec![key])]),
        ..terms(vec![
            rule("api.heron.example", "https", &[443]),
            rule("*", "https", &[443]),
            rule("*", "http", &[80]),
        ])
    }
}

#[test]
fn h02_i01_the_key_replaces_what_the_guest_sent_and_goes_to_its_origin_alone() {
    alone(|| async {
        let authority = Authority::default();
        let world = World::trusting(authority.roots(), with_key()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        world.dns.addresses("evil.example", &["93.184.0.2"]);
        let body = || at_once("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let heron = authority.acceptor("api.heron.example");
        let heron = secure("93.184.0.1:443", body(), heron).await;
        let clear = plain("93.184.0.1:80", body()).await;
        let evil = authority.acceptor("evil.example");
        let evil = secure("93.184.0.2:443", body(), evil).await;
        for url in [
            "https://api.heron.example/",
            "http://api.heron.example/",
            "https://evil.example/",
        ] {
            let mine = Request::get(url)
                .header("authorization", "Bearer mine")
                .header("accept-encoding", "gzip");
            assert_eq!(world.ask(mine).await.status, 200, "{url}");
        }
        let sent = &heron.requests()[0];
        assert_eq!(sent.matches("authorization").count(), 1, "{sent}");
        assert!(
            sent.contains(&format!("authorization: Bearer {KEY}\r\n")),
            "{sent}"
        );
        assert!(sent.contains("accept-encoding: identity\r\n"), "{sent}");
        for other in [&clear, &evil] {
            let sent = &other.requests()[0];
            assert!(
                sent.contains("Bearer mine") && !sent.contains("CANARY"),
                "{sent}"
            );
        }
    });
}

#[test]
fn h02_an_origin_that_reflects_its_key_shows_the_guest_a_cover() {
    alone(|| async {
        let authority = Authority::default();
        let world = World::trusting(authority.roots(), with_key()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let body = format!("{{\"auth\": \"Bearer {KEY}\"}}");
        let text = format!(
            "HTTP/1.1 200 OK\r\nx-auth: {KEY}\r\nlocation: https://evil.example/?k={KEY}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // The key is cut in the middle, so that no piece has the whole of it.
        let (left, right) = body.split_at(body.find("CANARY").unwrap() + 3);
        let rest = std::time::Duration::from_millis(20);
        let script = vec![
            (
                std::time::Duration::ZERO,
                [text.as_bytes(), left.as_bytes()].concat(),
            ),
            (rest, right.as_bytes().to_vec()),
        ];
        let heron = authority.acceptor("api.heron.example");
        let _heron = secure("93.184.0.1:443", script, heron).await;
        let got = world.get("https://api.heron.example/").await;
        let covered = "*".repeat(KEY.len());
        assert_eq!(
            got.body,
            Some(format!("{{\"auth\": \"Bearer {covered}\"}}"))
        );
        assert!(
            !format!("{:?}", got.headers).contains("CANARY"),
            "{:?}",
            got.headers
        );
    });
}

#[test]
fn h02_an_answer_in_which_no_key_could_be_found_is_not_handed_on() {
    alone(|| async {
        let authority = Authority::default();
        let world = World::trusting(authority.roots(), with_key()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let text = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz";
        let heron = authority.acceptor("api.heron.example");
        let _heron = secure("93.184.0.1:443", at_once(text), heron).await;
        let got = world.get("https://api.heron.example/").await;
        got.refused_as("HTTP-response-content-coding");
    });
}
