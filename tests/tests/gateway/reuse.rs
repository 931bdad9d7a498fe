//! Connections that are used again: by whom, for what, and when not.

use std::time::Duration;

use agentvm_gateway::vm::Terms;
use bytes::Bytes;
use futures::future::join_all;
use http::Request;
use http_body_util::BodyExt as _;

use crate::world::{Got, World, rule, terms, until};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{CLOSE, Script, Seen, at_once, ok, plain};

const URL: &str = "http://api.heron.example/";

fn allowed() -> Terms {
    terms(vec![rule("api.heron.example", "http", &[80])])
}

async fn world_of(script: Script) -> (World, Seen) {
    let world = World::new(allowed()).await;
    world.dns.addresses("api.heron.example", &["93.184.0.1"]);
    let seen = plain("93.184.0.1:80", script).await;
    (world, seen)
}

#[test]
fn a_connection_is_used_again_and_closed_when_nobody_does() {
    alone(|| async {
        let (world, seen) = world_of(ok("hello")).await;
        for _ in 0..5 {
            assert_eq!(world.get(URL).await.body.as_deref(), Some("hello"));
        }
        let request = Request::post(URL);
        assert_eq!(world.send(request, Bytes::from("body")).await.status, 200);
        assert_eq!(seen.counts(), [6]);
        until(|| seen.open() == 0).await;
        assert_eq!(world.get(URL).await.status, 200);
        assert_eq!(seen.counts(), [6, 1]);
    });
}

#[test]
fn two_vms_never_share_a_connection() {
    alone(|| async {
        let (world, seen) = world_of(ok("hello")).await;
        world.add("u2", allowed());
        for _ in 0..3 {
            assert_eq!(world.get(URL).await.status, 200);
            assert_eq!(world.get_as("u2", URL).await.status, 200);
        }
        assert_eq!(seen.counts(), [3, 3]);
    });
}

#[test]
fn one_rules_connection_is_not_anothers() {
    alone(|| async {
        let narrow = agentvm_policy::egress::RuleText {
            scheme: Some("http".to_owned()),
            ..agentvm_policy::egress::RuleText::new("api.heron.example", &["GET"], &["/a"])
        };
        let narrow = agentvm_policy::egress::Rule::parse(&narrow).unwrap();
        let both = terms(vec![rule("api.heron.example", "http", &[80]), narrow]);
        let (world, seen) = world_of(ok("")).await;
        world.vm.set_terms(both);
        for path in ["", "a", "", "a"] {
            assert_eq!(world.get(&format!("{URL}{path}")).await.status, 200);
        }
        assert_eq!(seen.counts(), [2, 2]);
    });
}

#[test]
fn f06_a_connection_to_an_address_that_the_name_has_no_more_is_left_alone() {
    alone(|| async {
        let (world, first) = world_of(ok("first")).await;
        let second = plain("93.184.0.2:80", ok("second")).await;
        let metadata = plain("169.254.169.254:80", ok("CANARY")).await;
        let body = async || world.get(URL).await.body;
        assert_eq!(body().await.as_deref(), Some("first"));
        world.dns.addresses("api.heron.example", &["93.184.0.2"]);
        assert_eq!(body().await.as_deref(), Some("second"));
        world
            .dns
            .addresses("api.heron.example", &["169.254.169.254"]);
        let got = world.get(URL).await;
        got.refused_as("destination-IP-prohibited");
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        assert_eq!(body().await.as_deref(), Some("first"));
        assert_eq!((first.counts(), second.counts()), (vec![2], vec![1]));
        assert_eq!(metadata.connections(), 0);
    });
}

#[test]
fn f15_f16_an_address_that_was_closed_meanwhile_is_not_used_again() {
    alone(|| async {
        let (world, seen) = world_of(ok("")).await;
        assert_eq!(world.get(URL).await.status, 200);
        let mut closed = allowed();
        closed.addresses.cluster = vec!["93.184.0.0/16".parse().unwrap()];
        world.vm.set_terms(closed);
        let got = world.get(URL).await;
        got.refused_as("destination-IP-prohibited");
        assert_eq!(seen.counts(), [1]);
        until(|| seen.open() == 0).await;
    });
}

#[test]
fn f15_f24_an_answer_on_its_way_is_cut_when_its_address_is_closed() {
    alone(|| async {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc";
        let (world, seen) = world_of(at_once(text)).await;
        let answer = world.open(Request::get(URL), Bytes::new()).await.unwrap();
        let mut closed = allowed();
        closed.addresses.own = vec!["93.184.0.1:80".parse().unwrap()];
        world.vm.set_terms(closed);
        until(|| seen.open() == 0).await;
        assert!(answer.into_body().collect().await.is_err());
        let outcome = &world.outcomes.wait_for(1).await[0];
        let code = outcome.refusal.as_ref().map(|why| why.code().as_str());
        assert_eq!(code, Some("destination-IP-prohibited"));
    });
}

/// Asks twice on what could be one connection; what came first, and how many by each.
async fn twice(script: Script, first: Request<Bytes>) -> (Option<Got>, Vec<usize>) {
    let (world, seen) = world_of(script).await;
    let (parts, body) = first.into_parts();
    let mut request = Request::builder().method(parts.method).uri(parts.uri);
    for (name, value) in &parts.headers {
        request = request.header(name, value);
    }
    let got = world.send(request, body).await;
    assert_eq!(world.get(URL).await.status, 200);
    (Some(got), seen.counts())
}

fn get() -> Request<Bytes> {
    Request::get(URL).body(Bytes::new()).unwrap()
}

#[test]
fn f18_an_answer_that_ends_oddly_is_the_last_one_of_its_connection() {
    let first = |text: &'static str| {
        alone(move || async move {
            let (_got, counts) = twice(at_once(text), get()).await;
            assert_eq!(counts, [1, 1], "{text:?}");
        });
    };
    first("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    first("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
    first(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    );
}

#[test]
fn f18_a_request_whose_body_is_not_whole_is_the_last_one_of_its_connection() {
    alone(|| async {
        let (world, seen) = world_of(ok("early")).await;
        let (body_tx, body_rx) = futures::channel::mpsc::unbounded::<Bytes>();
        let frames = futures::StreamExt::map(body_rx, |piece| {
            Ok::<_, std::convert::Infallible>(hyper::body::Frame::data(piece))
        });
        let body = http_body_util::BodyExt::boxed(http_body_util::StreamBody::new(frames));
        body_tx.unbounded_send(Bytes::from("half")).unwrap();
        let request = Request::post(URL).header("content-length", "8");
        let answer = world.open_as("u1", request, body).await.unwrap();
        assert_eq!(Got::whole(answer).await.body.as_deref(), Some("early"));
        let rest = "GET /admin HTTP/1.1\r\n\r\n";
        let _refused = body_tx.unbounded_send(Bytes::from(rest));
        drop(body_tx);
        assert_eq!(world.get(URL).await.status, 200);
        assert_eq!(seen.counts(), [1, 1], "{:?}", seen.requests());
        assert!(!seen.requests().concat().contains("admin"));
    });
}

#[test]
fn f18_an_answer_that_the_guest_leaves_is_the_last_one_of_its_connection() {
    alone(|| async {
        let mut script = at_once("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
        script.push((Duration::from_millis(300), b"cd".to_vec()));
        let (world, seen) = world_of(script).await;
        let answer = world.open(Request::get(URL), Bytes::new()).await.unwrap();
        drop(answer);
        until(|| seen.open() == 0).await;
        assert_eq!(world.get(URL).await.body.as_deref(), Some("abcd"));
        assert_eq!(seen.connections(), 2);
    });
}

#[test]
fn a_host_that_closed_an_idle_connection_is_asked_again_where_that_does_no_harm() {
    alone(|| async {
        // It answers, and closes when the next request comes.
        let world = World::new(allowed()).await;
        world.dns.addresses("api.heron.example", &["93.184.0.1"]);
        let seen = agentvm_tests::internet::upstream::once("93.184.0.1:80", ok("hello")).await;
        for _ in 0..3 {
            assert_eq!(world.get(URL).await.body.as_deref(), Some("hello"));
        }
        assert_eq!(seen.connections(), 3);
        let post = world.send(Request::post(URL), Bytes::from("pay")).await;
        // It may have been carried out.
        post.refused_as("HTTP-protocol-error");
        let posts = seen.messages().concat();
        let posts = posts.iter().filter(|one| one.line().starts_with("POST"));
        assert_eq!(posts.count(), 1);
    });
}

#[test]
fn a_host_that_never_answers_a_second_request_is_asked_once_more_and_not_for_ever() {
    alone(|| async {
        let closes = vec![(Duration::ZERO, CLOSE.to_vec())];
        let (world, seen) = world_of(closes).await;
        world.get(URL).await.refused_as("HTTP-protocol-error");
        assert_eq!(seen.connections(), 1);
    });
}

#[test]
fn f27_idle_connections_of_a_vm_are_bounded() {
    alone(|| async {
        let slow = (
            Duration::from_millis(300),
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(),
        );
        let (world, seen) = world_of(vec![slow]).await;
        let all = join_all((0..20).map(|_| world.get(URL))).await;
        assert!(all.iter().all(|got| got.status == 200), "{all:?}");
        assert_eq!(seen.connections(), 20);
        until(|| seen.open() == 8).await;
        let usage = world.vm.usage();
        assert_eq!((usage.answered, usage.in_flight), (20, 0));
    });
}
