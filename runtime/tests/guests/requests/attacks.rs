//! What a core module does with requests that no honest one does.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::Egress;

use super::exchanges::{BODY, NONBLOCK};
use super::text::{FD, call, guest, is, open, opened};
use super::upstream::Upstream;
use crate::harness::{Guest, until};

const TOOBIG: i32 = 1;
const ACCES: i32 = 2;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const MSGSIZE: i32 = 35;
const NFILE: i32 = 41;
const PIPE: i32 = 64;

/// A guest that opens `times` exchanges and exits with the first error, or 0.
pub(crate) fn opens(times: u32) -> Guest {
    let opened = open("GET", "http://api.example/never", "", NONBLOCK);
    let (texts, call) = opened.split_at(opened.rfind("(call $open").unwrap());
    guest(&format!(
        "(local $left i32) (local $errno i32) {texts} (local.set $left (i32.const {times}))
         (loop $more
           (if (local.tee $errno {call}) (then (call $proc_exit (local.get $errno))))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))"
    ))
}

/// A guest that opens one and exits with the error; it has somebody to carry its requests, and
/// may make none.
pub(crate) fn opens_without_a_network(way: Arc<dyn Egress>) -> Guest {
    opens(1)
        .network(way)
        .grants(|grants| grants.network = false)
}

#[tokio::test]
async fn f01_without_a_network_nothing_is_asked_and_every_attempt_counts() {
    let upstream = Upstream::start().await;
    for guest in [opens_without_a_network(upstream.way()), opens(1)] {
        let ran = guest.run().await;
        assert_eq!(ran.ending.exit_code, Some(ACCES));
        assert_eq!(ran.usage.denials.get("network"), Some(&1));
    }
    assert_eq!(upstream.asked(), 0);
}

#[tokio::test]
async fn f27_requests_in_flight_are_bounded_and_free_again_once_closed() {
    let upstream = Upstream::start().await;
    let ran = opens(9).network(upstream.way()).run().await;
    assert_eq!(ran.ending.exit_code, Some(NFILE));
    assert_eq!(opens(8).network(upstream.way()).exit_code().await, 0);
    let one = opened("GET", "/never", NONBLOCK);
    let again = format!(
        "(local $left i32) (local.set $left (i32.const 1000))
         (loop $more {one} {}
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))",
        is("(call $fd_close (call $fd))", 0),
    );
    let ran = guest(&again).network(upstream.way()).run().await;
    assert_eq!(ran.ending.exit_code, Some(0));
    assert!(ran.usage.memory_peak_bytes < 512 << 10, "{:?}", ran.usage);
}

#[tokio::test]
async fn f27_a_hundred_thousand_attempts_hold_nothing() {
    let upstream = Upstream::start().await;
    let one = open("GET", "http://api.example/never", "", NONBLOCK);
    let (texts, call) = one.split_at(one.rfind("(call $open").unwrap());
    let body = format!(
        "(local $left i32) {texts} (local.set $left (i32.const 100000))
         (loop $more (drop {call})
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))"
    );
    let ran = guest(&body).network(upstream.way()).run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{:?}", ran.ending);
    assert!(ran.usage.memory_peak_bytes < 2 << 20, "{:?}", ran.usage);
    assert!(upstream.asked() <= 8, "{}", upstream.asked());
}

/// A guest that opens as many exchanges as it may, with memory for three.
pub(crate) fn opens_with_little_memory(way: Arc<dyn Egress>) -> Guest {
    let guest = opens(8).network(way);
    guest.limits(|limits| limits.memory_bytes = 512 << 10)
}

#[tokio::test]
async fn d04_what_the_host_holds_of_exchanges_is_the_guests_memory() {
    let upstream = Upstream::start().await;
    let little = opens_with_little_memory(upstream.way());
    assert_eq!(little.exit_code().await, NFILE);
}

#[tokio::test]
async fn no_pointer_reaches_past_the_memory_and_nothing_is_sent() {
    let upstream = Upstream::start().await;
    let honest = open("GET", "http://api.example/hello", "a: 1\n", 0);
    let (texts, open) = honest.split_at(honest.rfind("(call $open").unwrap());
    let arguments: Vec<&str> = open.matches("(i32.const ").collect();
    assert_eq!(arguments.len(), 8);
    let numbers: Vec<u32> = open
        .split("(i32.const ")
        .skip(1)
        .map(|rest| rest.split(')').next().unwrap().parse().unwrap())
        .collect();
    for index in [0, 1, 2, 3, 4, 5, 7] {
        for bad in [65_536, 0x7fff_ffff, 0x8000_0000, u32::MAX - 3, u32::MAX] {
            let mut numbers = numbers.clone();
            numbers[index] = bad;
            let mut arguments = String::new();
            for number in numbers {
                write!(arguments, "(i32.const {})", number.cast_signed()).unwrap();
            }
            let body = format!("{texts}{}", is(&format!("(call $open {arguments})"), FAULT));
            let ran = guest(&body).network(upstream.way()).run().await;
            assert_eq!(ran.ending.exit_code, Some(0), "{index} {bad}: {ran:?}");
        }
    }
    assert_eq!(upstream.asked(), 0);
}

#[tokio::test]
async fn pointers_of_the_other_calls_are_checked_too() {
    let upstream = Upstream::start().await;
    let mut body = opened("GET", "/hello", 0);
    let bad = [65_535, 65_536, -1, i32::MIN];
    for at in bad {
        for call in ["head", "failure"] {
            body += &is(
                &format!("(call ${call} (call $fd) (i32.const 0) (i32.const 64) (i32.const {at}))"),
                FAULT,
            );
        }
        body += &is(
            &format!("(call $head (call $fd) (i32.const {at}) (i32.const -1) (i32.const 72))"),
            FAULT,
        );
        body += &is(
            &format!("(call $fd_read (call $fd) (i32.const {at}) (i32.const 1) (i32.const 72))"),
            FAULT,
        );
        body += &is(
            &format!("(call $fd_write (call $fd) (i32.const 128) (i32.const 1) (i32.const {at}))"),
            FAULT,
        );
    }
    let ran = guest(&body).network(upstream.way()).run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn f29_what_is_too_long_or_no_request_is_refused_and_not_sent() {
    let upstream = Upstream::start().await;
    let url = "http://api.example/hello";
    let long_url = format!("http://api.example/{}", "x".repeat(7_000));
    let many = "a: 1\n".repeat(101);
    for (method, url, headers, flags, expected) in [
        ("GET", "", "", 0, INVAL),
        ("GET", "/hello", "", 0, INVAL),
        ("GET", "http://a.example#@api.example/", "", 0, INVAL),
        ("GET", "http://api.example/\u{1}", "", 0, INVAL),
        ("GE T", url, "", 0, INVAL),
        ("", url, "", 0, INVAL),
        ("AVERYLONGMETHODNAME", url, "", 0, INVAL),
        ("GET", url, "a: 1", 0, INVAL),
        ("GET", url, "a: 1\r\nb: 2\n", 0, INVAL),
        ("GET", url, "transfer-encoding: chunked\n", 0, INVAL),
        ("GET", url, "agentvm-vm: other\n", 0, INVAL),
        ("GET", url, "content-length: 5\n", 0, INVAL),
        ("POST", url, "content-length: -5\n", BODY, INVAL),
        ("GET", url, "", 2, INVAL),
        ("GET", url, "", 0xffff_ffff, INVAL),
        ("GET", url, many.as_str(), 0, TOOBIG),
    ] {
        let body = call(&open(method, url, headers, flags), expected);
        let ran = guest(&body).network(upstream.way()).run().await;
        assert_eq!(ran.ending.exit_code, Some(0), "{method} {url} {headers}");
    }
    let fits = call(&open("GET", &long_url, "", 0), 0);
    assert_eq!(guest(&fits).network(upstream.way()).exit_code().await, 0);
    let huge = is(
        &format!(
            "(call $open (i32.const 8192) (i32.const 3) (i32.const 0) (i32.const 65536)
               (i32.const 0) (i32.const 0) (i32.const 0) (i32.const {FD}))"
        ),
        INVAL,
    );
    assert_eq!(guest(&huge).network(upstream.way()).exit_code().await, 0);
    assert!(upstream.asked() <= 1);
}

#[tokio::test]
async fn f18_a_body_that_is_not_as_long_as_it_says_never_looks_whole() {
    let upstream = Upstream::start().await;
    let url = "http://api.example/echo";
    let open = call(&open("POST", url, "content-length: 10\n", BODY), 0);
    let long = format!(
        "{open} {} {} {}",
        is("(call $write (call $fd) (i32.const 11))", MSGSIZE),
        is("(call $write (call $fd) (i32.const 9))", 0),
        is("(call $finish (call $fd))", MSGSIZE),
    );
    let ran = guest(&long).network(upstream.way()).run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{ran:?}");
    until(|| upstream.broken() > 0 || upstream.asked() == 0).await;
}

#[tokio::test]
async fn calls_in_the_wrong_order_are_errors_and_nothing_more() {
    let upstream = Upstream::start().await;
    let head = "(call $head (call $fd) (i32.const 16384) (i32.const 32768) (i32.const 72))";
    let body = format!(
        "{} {} {} {} {} {} {} {} {} {}",
        opened("POST", "/ignores", BODY),
        is("(call $finish (call $fd))", 0),
        is("(call $finish (call $fd))", 0),
        is("(call $write (call $fd) (i32.const 1))", PIPE),
        is(head, 0),
        is(head, 0),
        is("(call $fd_close (call $fd))", 0),
        is(head, BADF),
        is("(call $read (call $fd))", BADF),
        is("(call $finish (i32.const 1))", INVAL),
    );
    let ran = guest(&body).network(upstream.way()).run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{ran:?}");
}

#[tokio::test]
async fn renumbering_over_an_exchange_gives_it_up_and_moves_another() {
    let upstream = Upstream::start().await;
    let body = format!(
        "(local $first i32) {} (local.set $first (call $fd)) {} {} {} {}",
        opened("GET", "/never", NONBLOCK),
        opened("GET", "/hello", NONBLOCK),
        is("(call $fd_renumber (call $fd) (local.get $first))", 0),
        is(
            "(call $fd_fdstat_set_flags (local.get $first) (i32.const 0))",
            0
        ),
        is("(call $drain (local.get $first))", 0),
    );
    let ran = guest(&body).network(upstream.way()).run().await;
    assert_eq!(
        (ran.ending.exit_code, ran.stdout.as_str()),
        (Some(0), "GET /hello")
    );
}

#[tokio::test]
async fn a_guest_that_polls_a_ready_exchange_for_ever_lets_others_run() {
    let upstream = Upstream::start().await;
    let body = format!(
        "{} (drop (call $head (call $fd) (i32.const 16384) (i32.const 32768) (i32.const 72)))
         (i32.store offset=8 (i32.const 1024) (i32.const 1))
         (i32.store offset=16 (i32.const 1024) (call $fd))
         (loop $again
           (drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 80)))
           (br $again))",
        opened("GET", "/hello", 0),
    );
    let running = guest(&body).network(upstream.way()).start();
    until(|| upstream.asked() == 1).await; // on the one thread that the guest has, too
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    assert_eq!(running.end().await.ending.reason, EndReason::Stopped);
}
