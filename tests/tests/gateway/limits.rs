//! How much, how long, and how many: and that one VM's slow host is nobody else's.

use std::time::Duration;

use agentvm_gateway::limits::Limits;
use agentvm_gateway::vm::Terms;
use bytes::Bytes;
use http::Request;

use crate::world::{World, rule, terms};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{Script, at_once, ok, plain};

const URL: &str = "http://api.heron.example/";

fn tight() -> Terms {
    Terms {
        limits: Limits {
            requests: 2,
            request_bytes: 1_000,
            response_bytes: 1_000,
            egress_bytes: 1_500,
            egress_bytes_per_second: 1 << 30,
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(1),
            idle: Duration::from_secs(1),
            total: Duration::from_secs(3),
        },
        ..terms(vec![rule("api.heron.example", "http", &[80])])
    }
}

async fn world_of(script: Script) -> (World, agentvm_tests::internet::upstream::Seen) {
    let world = World::new(tight()).await;
    world.dns.addresses("api.heron.example", &["93.184.0.1"]);
    let seen = plain("93.184.0.1:80", script).await;
    (world, seen)
}

#[test]
fn f25_an_answer_has_a_size_and_its_headers_have() {
    alone(|| async {
        let (world, _seen) = world_of(ok(&"a".repeat(1_000))).await;
        assert_eq!(
            world.get(URL).await.body.map(|body| body.len()),
            Some(1_000)
        );
    });
    for text in [
        format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n{}",
            "a".repeat(1_001)
        ),
        format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(5_000)),
    ] {
        alone(move || async move {
            let (world, _seen) = world_of(at_once(&text)).await;
            let got = world.get(URL).await;
            assert_eq!((got.error, got.body), (None, None));
        });
    }
    let one_long = format!("x: {}\r\n", "a".repeat(100_000));
    for headers in ["x: a\r\n".repeat(200), one_long] {
        alone(move || async move {
            let (world, _seen) =
                world_of(at_once(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n"))).await;
            let got = world.get(URL).await;
            assert!(got.error.is_some(), "{got:?}");
        });
    }
}

#[test]
fn f25_an_answer_that_does_not_begin_or_go_on_ends() {
    alone(|| async {
        let (world, _seen) = world_of(Vec::new()).await;
        world.get(URL).await.refused_as("HTTP-response-timeout");
    });
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\na";
    alone(move || async move {
        let (world, _seen) = world_of(at_once(first)).await;
        assert_eq!(world.get(URL).await.body, None);
    });
    // A byte now and then is not idle; the whole has its time all the same.
    alone(move || async move {
        let drip = (Duration::from_millis(300), b"a".to_vec());
        let mut script = at_once(first);
        script.extend(vec![drip; 100]);
        let (world, _seen) = world_of(script).await;
        let began = tokio::time::Instant::now();
        assert_eq!(world.get(URL).await.body, None);
        assert!(began.elapsed() < Duration::from_secs(10));
    });
    alone(move || async move {
        let flood = at_once(&"HTTP/1.1 103 x\r\n\r\n".repeat(50));
        let (world, _seen) = world_of(flood).await;
        world.get(URL).await.refused_as("HTTP-response-timeout");
    });
}

#[test]
fn a_request_has_a_size_and_a_vm_sends_no_more_than_it_may_in_all() {
    alone(|| async {
        let (world, seen) = world_of(ok("")).await;
        let body = |bytes| Bytes::from(vec![b'a'; bytes]);
        let got = world.send(Request::post(URL), body(1_001)).await;
        got.refused_as("HTTP-request-body-size");
        assert_eq!(
            world.send(Request::post(URL), body(1_000)).await.status,
            200
        );
        let got = world.send(Request::post(URL), body(600)).await;
        got.refused_as("HTTP-request-body-size");
        assert_eq!(world.send(Request::post(URL), body(400)).await.status, 200);
        assert_eq!(world.vm.sent_bytes(), 1_400);
        assert!(seen.requests().iter().all(|sent| sent.len() < 1_500));
    });
}

#[test]
fn f27_requests_in_flight_are_bounded_and_one_that_ends_makes_room() {
    alone(|| async {
        let slow = (
            Duration::from_millis(500),
            b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
        );
        let (world, seen) = world_of(vec![slow]).await;
        let mut terms = tight();
        terms.limits.connect = Duration::from_millis(100);
        world.vm.set_terms(terms);
        let all = futures::future::join_all((0..5).map(|_| world.get(URL))).await;
        let refused = all.iter().filter(|got| got.error.is_some()).count();
        assert_eq!((refused, seen.connections()), (3, 2), "{all:?}");
    });
}

#[test]
fn a_host_that_refuses_or_does_not_answer_has_its_own_code() {
    alone(|| async {
        let world = World::new(tight()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.3"]);
        world.get(URL).await.refused_as("connection-refused");
    });
}
