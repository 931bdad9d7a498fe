//! A key or a rule that changes while requests are on their way.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agentvm_gateway::inject::Injection;
use agentvm_gateway::secret::Secret;
use agentvm_gateway::vm::Terms;
use bytes::Bytes;
use futures::future::join_all;
use http::Request;

use crate::world::{Got, World, rule, terms, until};
use agentvm_tests::internet::authority::Authority;
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{Script, Seen, ok, plain, secure};

const URL: &str = "https://api.heron.example/";

fn with_key(key: &str) -> Terms {
    let key = Injection::new("x-key", "{}", Secret::from(key)).unwrap();
    Terms {
        injections: BTreeMap::from([(0, vec![key])]),
        ..terms(vec![rule("api.heron.example", "https", &[443])])
    }
}

async fn world_of(script: Script) -> (World, Seen) {
    let authority = Authority::default();
    let world = World::trusting(authority.roots(), with_key("old-CANARY")).await;
    world.dns.addresses("api.heron.example", &["93.184.0.1"]);
    let acceptor = authority.acceptor("api.heron.example");
    let heron = secure("93.184.0.1:443", script, acceptor).await;
    (world, heron)
}

fn keys(seen: &Seen) -> Vec<Vec<String>> {
    let owned = |values: Vec<&str>| values.iter().map(ToString::to_string).collect::<Vec<_>>();
    let of = |all: &Vec<agentvm_tests::internet::message::Message>| {
        all.iter()
            .flat_map(|one| owned(one.header("x-key")))
            .collect()
    };
    seen.messages().iter().map(of).collect()
}

#[test]
fn h12_a_new_key_goes_with_the_next_request_and_the_connections_of_the_old_one_are_closed() {
    alone(|| async {
        let (world, heron) = world_of(ok("")).await;
        for _ in 0..2 {
            assert_eq!(world.get(URL).await.status, 200);
        }
        // What is told again changes nothing.
        world.vm.set_terms(with_key("old-CANARY"));
        assert_eq!(world.get(URL).await.status, 200);
        world.vm.set_terms(with_key("new-CANARY"));
        until(|| heron.open() == 0).await;
        assert_eq!(world.get(URL).await.status, 200);
        assert_eq!(keys(&heron), [vec!["old-CANARY"; 3], vec!["new-CANARY"]]);
        world.vm.set_terms(Terms::default());
        until(|| heron.open() == 0).await;
        world.get(URL).await.refused_as("HTTP-request-denied");
        assert_eq!(keys(&heron).concat().len(), 4);
    });
}

#[test]
fn h12_an_answer_to_the_old_key_ends_and_its_connection_with_it() {
    alone(|| async {
        let mut script = ok("");
        script[0].1 = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab".to_vec();
        script.push((Duration::from_millis(300), b"cd".to_vec()));
        let (world, heron) = world_of(script).await;
        let answer = world.open(Request::get(URL), Bytes::new()).await.unwrap();
        world.vm.set_terms(with_key("new-CANARY"));
        assert_eq!(Got::whole(answer).await.body.as_deref(), Some("abcd"));
        until(|| heron.open() == 0).await;
        assert_eq!(world.get(URL).await.status, 200);
        assert_eq!(keys(&heron), [["old-CANARY"], ["new-CANARY"]]);
    });
}

#[test]
fn f24_a_change_holds_at_once_for_new_requests_and_within_seconds_for_those_on_their_way() {
    alone(|| async {
        let allowed = || terms(vec![rule("api.heron.example", "http", &[80])]);
        let world = World::new(allowed()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let slow = vec![(Duration::from_secs(20), b"HTTP/1.1 200 OK\r\n\r\n".to_vec())];
        let seen = plain("93.184.0.1:80", slow).await;
        let url = "http://api.heron.example/";
        for round in 1..=5 {
            world.vm.set_terms(allowed());
            let many = join_all((0..8).map(|_| world.get(url)));
            let deny = async {
                until(|| seen.connections() == 8 * round).await;
                world.vm.set_terms(Terms::default());
                let began = Instant::now();
                let got = world.get(url).await;
                got.refused_as("HTTP-request-denied");
                assert!(began.elapsed() < Duration::from_secs(1));
                until(|| seen.open() == 0).await;
                assert!(began.elapsed() < Duration::from_secs(5));
            };
            let (all, ()) = futures::join!(many, deny);
            for got in all {
                got.refused_as("HTTP-request-denied");
            }
        }
    });
}

#[test]
fn h04_h06_h07_what_is_told_of_a_request_is_bounded_and_names_neither_key_nor_address() {
    alone(|| async {
        let (world, _heron) = world_of(ok("")).await;
        let long = format!(
            "https://{}/CANARY?CANARY",
            vec!["x".repeat(50); 4].join(".")
        );
        for (url, address) in [
            (URL, "10.96.0.1"),
            (URL, "93.184.0.9"),
            (&long, "93.184.0.1"),
            ("https://api.heron.example/%2e%2e/CANARY", "93.184.0.1"),
        ] {
            world.dns.addresses("api.heron.example", &[address]);
            let got = world.get(url).await;
            let code = got.error.unwrap();
            assert!(agentvm_policy::egress::Code::parse(&code).is_some());
            assert_eq!(got.body.as_deref(), Some(""));
            let names: Vec<&str> = got.headers.keys().map(http::HeaderName::as_str).collect();
            assert_eq!(names, ["agentvm-error"]);
        }
        for outcome in world.outcomes.wait_for(4).await {
            let told = outcome.refusal.unwrap().to_string();
            assert!(told.len() <= 1_024, "{told}");
            for hidden in ["CANARY", "10.96", "93.184", "9.9.9.9"] {
                assert!(!told.contains(hidden), "{told}");
            }
        }
        let refused = world.vm.usage().refused;
        assert!(refused.len() <= 4, "{refused:?}");
        for code in refused.keys() {
            assert!(
                agentvm_policy::egress::Code::parse(code).is_some(),
                "{code}"
            );
        }
    });
}
