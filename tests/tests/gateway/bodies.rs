//! Bodies: how fast, how much of them is held, and that one VM's hold up nobody else's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agentvm_gateway::limits::Limits;
use agentvm_gateway::vm::Terms;
use agentvm_policy::budget;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::join_all;
use http::Request;
use http_body_util::StreamBody;
use hyper::body::Frame;

use crate::world::{Got, Sent, UID, World, rule, terms};
use agentvm_tests::internet::network::alone;
use agentvm_tests::internet::upstream::{Seen, at_once, deaf, ok, plain};

const URL: &str = "http://api.heron.example/";
const OTHER: &str = "http://other.heron.example/";

fn at_rate(egress_bytes_per_second: u64) -> Terms {
    Terms {
        limits: Limits {
            egress_bytes_per_second,
            ..Limits::default()
        },
        ..terms(vec![rule("*.heron.example", "http", &[80])])
    }
}

async fn world_at(rate: u64) -> World {
    let world = World::new(at_rate(rate)).await;
    world.dns.addresses("api.heron.example", &["93.184.0.1"]);
    world.dns.addresses("other.heron.example", &["93.184.0.2"]);
    world.add("u2", at_rate(1 << 30));
    world
}

#[test]
fn a_vm_moves_what_its_rate_allows_both_ways_together_and_a_neighbour_does_not_wait() {
    alone(|| async {
        let world = world_at(100_000).await;
        let body = "a".repeat(40_000);
        let _heron = plain("93.184.0.1:80", ok(&body)).await;
        let _other = plain("93.184.0.2:80", ok(&body)).await;
        let began = Instant::now();
        let ours = async {
            for _ in 0..3 {
                let sent = Bytes::from(body.clone());
                let got = world.send(Request::post(URL), sent).await;
                assert_eq!(got.body.map(|body| body.len()), Some(40_000));
            }
            began.elapsed()
        };
        let theirs = async {
            let all = join_all((0..10).map(|_| world.get_as("u2", OTHER))).await;
            assert!(all.iter().all(|got| got.status == 200));
            began.elapsed()
        };
        let (ours, theirs) = futures::join!(ours, theirs);
        // 240,000 bytes, less what may be ahead and the last piece, which nobody waits for.
        assert!(ours > Duration::from_millis(1_300), "{ours:?}");
        assert!(ours < Duration::from_secs(6), "{ours:?}");
        assert!(theirs < ours / 2, "{theirs:?} beside {ours:?}");
        let usage = world.vm.usage();
        assert_eq!((usage.sent_bytes, usage.received_bytes), (120_000, 120_000));
        assert!(usage.throttled_ns > 1_000_000_000, "{usage:?}");
        let outcomes = world.outcomes.wait_for(3).await;
        assert!(outcomes.iter().all(|one| one.sent_bytes == 40_000));
        assert!(outcomes.iter().all(|one| one.received_bytes == 40_000));
        assert!(outcomes.iter().all(|one| one.rule == Some(0)));
    });
}

/// Waits until a count grows no more.
async fn settled(count: impl Fn() -> usize) -> usize {
    let mut last = count();
    loop {
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = count();
        if now == last && now > 0 {
            return now;
        }
        last = now;
    }
}

/// What kernels and the guest's own end hold of one stream: they are not the gateway.
fn elsewhere() -> usize {
    2 * budget::SOCKET_BYTES.usize() + budget::STREAM_BYTES.usize() + (64 << 10)
}

async fn neighbour_is_served(world: &World, other: &Seen) {
    let began = Instant::now();
    for _ in 0..20 {
        let got = world.get_as("u2", OTHER).await;
        assert_eq!(got.body.as_deref(), Some("well"));
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(other.counts(), [20]);
}

#[test]
fn d07_f25_f27_answers_that_nobody_reads_wait_at_their_host_and_hold_up_no_neighbour() {
    alone(|| async {
        const BODY: usize = 4 << 20;
        let world = world_at(1 << 30).await;
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {BODY}\r\n\r\n{}",
            "a".repeat(BODY)
        );
        let heron = plain("93.184.0.1:80", at_once(&text)).await;
        let other = plain("93.184.0.2:80", ok("well")).await;
        let streams = Limits::default().requests;
        let unread = join_all((0..streams).map(|_| world.open(Request::get(URL), Bytes::new())));
        let mut unread = unread.await;
        let held = settled(|| heron.written()).await;
        let most = budget::VM_HELD_BYTES.usize() + streams * elsewhere();
        assert!(held <= most, "{held} of {most}");
        assert!(held / streams <= budget::STREAM_HELD_BYTES.usize() + elsewhere());
        neighbour_is_served(&world, &other).await;
        // Nothing is lost of one that is read after all.
        let one = unread.pop().unwrap().unwrap();
        let got = Got::whole(one).await;
        assert_eq!(got.body.map(|body| body.len()), Some(BODY));
    });
}

#[test]
fn d07_f27_uploads_that_nobody_takes_wait_in_their_guest_and_hold_up_no_neighbour() {
    alone(|| async {
        let world = world_at(1 << 30).await;
        let heron = deaf("93.184.0.1:80");
        let other = plain("93.184.0.2:80", ok("well")).await;
        let taken = Arc::new(AtomicUsize::new(0));
        let streams = Limits::default().requests;
        let uploads = (0..streams).map(|_| {
            let request = Request::post(URL);
            world.open_as(UID, request, endless(taken.clone()))
        });
        let rest = async {
            let held = settled(|| taken.load(Ordering::Relaxed)).await;
            let most = budget::VM_HELD_BYTES.usize() + streams * elsewhere();
            assert!(held <= most, "{held} of {most}");
            assert_eq!(heron.connections(), streams);
            neighbour_is_served(&world, &other).await;
        };
        tokio::select! {
            _never = join_all(uploads) => panic!("nobody answers"),
            () = rest => {}
        }
    });
}

/// A body that never ends; how much of it was taken.
fn endless(taken: Arc<AtomicUsize>) -> Sent {
    let pieces = futures::stream::repeat(Bytes::from(vec![b'a'; 4 << 10]));
    let frames = pieces.map(move |piece| {
        taken.fetch_add(piece.len(), Ordering::Relaxed);
        Ok(Frame::data(piece))
    });
    http_body_util::BodyExt::boxed(StreamBody::new(frames))
}

#[test]
fn f26_what_is_compressed_is_handed_on_as_it_is() {
    alone(|| async {
        let world = world_at(1 << 30).await;
        let bomb = "BZh91AY&SYbomb";
        let text = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{bomb}",
            bomb.len()
        );
        let _heron = plain("93.184.0.1:80", at_once(&text)).await;
        let got = world.get(URL).await;
        assert_eq!(got.body.as_deref(), Some(bomb));
        assert_eq!(got.headers["content-encoding"], "gzip");
    });
}

#[test]
fn f25_trailers_that_never_end_and_chunks_that_never_end_are_ended() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for more in [
        format!("{chunked}1\r\na\r\n0\r\n{}", "x: y\r\n".repeat(20_000)),
        format!("{chunked}{}", "400\r\n".to_owned() + &"a".repeat(100_000)),
        format!("{chunked}1;{}\r\n", "a".repeat(100_000)),
    ] {
        alone(move || async move {
            let world = world_at(1 << 30).await;
            let _heron = plain("93.184.0.1:80", at_once(&more)).await;
            let got = world.get(URL).await;
            assert_eq!((got.error, got.body), (None, None));
        });
    }
}

#[test]
fn f30_what_comes_back_to_where_it_was_sent_from_is_refused() {
    alone(|| async {
        let world = world_at(1 << 30).await;
        let heron = plain("93.184.0.1:80", ok("")).await;
        assert_eq!(world.get(URL).await.status, 200);
        let sent = heron.messages()[0][0].clone();
        assert_eq!(sent.header("agentvm-hop"), ["1"]);
        // A guest that answers requests and hands their headers on.
        let mut again = Request::get(URL);
        for line in sent.head.lines().skip(1) {
            let (name, value) = line.split_once(": ").unwrap();
            if name != "host" {
                again = again.header(name, value);
            }
        }
        let got = world.ask(again).await;
        assert_eq!(got.status, 508);
        got.refused_as("loop-detected");
        assert_eq!(heron.counts(), [1]);
    });
}
