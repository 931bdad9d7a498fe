//! Exchanges of core modules that go well, and failures that are told.

use std::time::{Duration, Instant};

use agentvm_policy::EndReason;

use super::text::{BUFFER_BYTES, HEAD, call, guest, is, open, opened};
use super::upstream::Upstream;
use crate::harness::{Ran, until};

pub(super) const AGAIN: i32 = 6;
const IO: i32 = 29;
pub(super) const BODY: u32 = 1;
pub(super) const NONBLOCK: u32 = 4;

async fn run(body: &str) -> Ran {
    let upstream = Upstream::start().await;
    let ran = guest(body).network(upstream.way()).run().await;
    assert_eq!(ran.ending.reason, EndReason::Completed, "{ran:?}");
    ran
}

#[tokio::test]
async fn a_core_module_asks_and_reads_status_headers_and_body() {
    let body = format!(
        "{} {HEAD} {}",
        opened("GET", "/hello", 0),
        is("(call $drain (call $fd))", 0)
    );
    let ran = run(&body).await;
    let (head, text) = ran.stdout.split_once("GET").unwrap();
    assert!(
        head.starts_with("200\n") && head.contains("x-upstream: yes\n"),
        "{head}"
    );
    assert_eq!(text, " /hello");
}

#[tokio::test]
async fn a_body_is_sent_as_it_is_written_and_read_back_meanwhile() {
    let body = format!(
        "(local $left i32)
         {} {HEAD}
         (local.set $left (i32.const 100))
         (loop $more
           {} {} {}
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))
         {} {} {}",
        opened("POST", "/echo", BODY),
        is("(call $write (call $fd) (i32.const 1000))", 0),
        is("(call $done)", 1_000),
        is("(call $read (call $fd))", 0),
        is("(call $finish (call $fd))", 0),
        is("(call $drain (call $fd))", 0),
        is("(call $fd_close (call $fd))", 0),
    );
    run(&body).await;
}

#[tokio::test]
async fn only_what_fits_is_written_and_a_guest_waits_for_the_rest() {
    // Nobody reads the body, so that it fills up.
    let fill = format!(
        "{} (loop $more (br_if $more (i32.eqz (call $write (call $fd) (i32.const {BUFFER_BYTES})))))
         {}",
        opened("POST", "/never", BODY | NONBLOCK),
        is(&format!("(call $write (call $fd) (i32.const {BUFFER_BYTES}))"), AGAIN),
    );
    run(&fill).await;
}

/// A subscription at 1024 and on: `kind` is 1 to read and 2 to write.
fn subscribe(index: u32, kind: u32, fd: &str) -> String {
    let at = 1_024 + 48 * index;
    format!(
        "(i64.store (i32.const {at}) (i64.const {index}))
         (i32.store offset=8 (i32.const {at}) (i32.const {kind}))
         (i32.store offset=16 (i32.const {at}) {fd})"
    )
}

#[tokio::test]
async fn a_guest_waits_for_several_exchanges_at_once() {
    let poll = "(call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 2) (i32.const 80))";
    let body = format!(
        "(local $slow i32)
         {} (local.set $slow (call $fd)) {}
         {}
         {} {}
         {} {} ;; one is ready, and it is the quick one
         {} {}
         {} {} ;; so is the other, once the first is closed
         {}",
        opened("GET", "/slow", NONBLOCK),
        opened("GET", "/quick", NONBLOCK),
        is(
            "(call $head (local.get $slow) (i32.const 16384) (i32.const 32768) (i32.const 72))",
            AGAIN
        ),
        subscribe(0, 1, "(local.get $slow)"),
        subscribe(1, 1, "(call $fd)"),
        is(poll, 0),
        is("(i32.load (i32.const 2048))", 1),
        is("(call $fd_close (call $fd))", 0),
        subscribe(1, 1, "(local.get $slow)"),
        is(poll, 0),
        is("(i32.load (i32.const 80))", 2),
        is(
            "(call $head (local.get $slow) (i32.const 16384) (i32.const 32768) (i32.const 72))",
            0
        ),
    );
    run(&body).await;
}

#[tokio::test]
async fn a_body_that_has_room_is_ready_to_be_written_and_the_answer_is_not() {
    let body = format!(
        "{} {} {} {} {} {} {}",
        opened("POST", "/echo", BODY | NONBLOCK),
        subscribe(0, 1, "(call $fd)"),
        subscribe(1, 2, "(call $fd)"),
        is(
            "(call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 2) (i32.const 80))",
            0
        ),
        is("(i32.load8_u offset=10 (i32.const 2048))", 2),
        is("(i32.load offset=16 (i32.const 2048))", 32 << 10),
        is("(i32.load (i32.const 80))", 1),
    );
    run(&body).await;
}

#[tokio::test]
async fn trailers_come_with_the_end_of_the_body() {
    let trailers = "(call $trailers (call $fd) (i32.const 16384) (i32.const 100) (i32.const 72))";
    let body = format!(
        "{} {} {} {} (call $print (call $done))",
        opened("GET", "/trailers", 0),
        is(trailers, AGAIN),
        is("(call $drain (call $fd))", 0),
        is(trailers, 0),
    );
    assert_eq!(run(&body).await.stdout, "bodyx-sum: 7\n");
}

#[tokio::test]
async fn a_text_that_does_not_fit_is_asked_for_again() {
    let head = |len: u32| {
        format!("(call $head (call $fd) (i32.const 16384) (i32.const {len}) (i32.const 72))")
    };
    let body = format!(
        "{} {} (if (i32.le_u (call $done) (i32.const 10)) (then unreachable)) {} ",
        opened("GET", "/hello", 0),
        is(&head(10), 68),
        is(&head(1_000), 0),
    );
    run(&body).await;
}

#[tokio::test]
async fn a_failure_has_a_name() {
    let failure = "(call $failure (call $fd) (i32.const 16384) (i32.const 100) (i32.const 72))";
    let body = format!(
        "{} {} {} {} (call $print (call $done))",
        opened("GET", "/hello", 0),
        is(
            "(call $head (call $fd) (i32.const 16384) (i32.const 32768) (i32.const 72))",
            IO
        ),
        is("(call $read (call $fd))", IO),
        is(failure, 0),
    );
    let ran = guest(&body).network(super::upstream::nowhere()).run().await;
    assert_eq!(ran.stdout, "connection-refused", "{ran:?}");
}

#[tokio::test]
async fn a_failure_in_the_middle_of_a_body_is_no_end() {
    let body = format!(
        "{} {} {} {} (call $print (call $done))",
        opened("POST", "/echo", BODY),
        is("(call $write (call $fd) (i32.const 10))", 0),
        is("(call $read (call $fd))", 0),
        // Broken off by the other side, as /echo does when its own request breaks off.
        is(
            "(call $failure (call $fd) (i32.const 16384) (i32.const 100) (i32.const 72))",
            0
        ),
    );
    assert_eq!(run(&body).await.stdout, ""); // none so far
}

#[tokio::test]
async fn who_closes_an_exchange_or_ends_gives_it_up() {
    for end in [
        "(drop (call $fd_close (call $fd)))",
        "(call $proc_exit (i32.const 0))",
    ] {
        let upstream = Upstream::start().await;
        let body = format!(
            "{} {HEAD} {} {end} (drop (call $drain (i32.const 0)))",
            opened("GET", "/stalls", 0),
            is("(call $read (call $fd))", 0),
        );
        let running = guest(&body).network(upstream.way()).start();
        until(|| upstream.broken() > 0).await;
        running.handle.stop(EndReason::Stopped, Duration::ZERO);
        running.end().await;
    }
}

#[tokio::test]
async fn f28_a_guest_that_waits_is_stopped_at_once_whatever_it_waits_for() {
    let waits = [
        is(
            "(call $head (call $fd) (i32.const 16384) (i32.const 32768) (i32.const 72))",
            0,
        ),
        is("(call $read (call $fd))", 0),
        format!(
            "(loop $more (br_if $more (i32.eqz (call $write (call $fd) (i32.const {BUFFER_BYTES})))))"
        ),
        subscribe(0, 1, "(call $fd)")
            + &is(
                "(call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 80))",
                0,
            ),
    ];
    for wait in waits {
        let upstream = Upstream::start().await;
        let fills = wait.contains("loop");
        let (method, flags) = if fills { ("POST", BODY) } else { ("GET", 0) };
        let body = opened(method, "/never", flags) + &wait;
        let running = guest(&body).network(upstream.way()).start();
        until(|| upstream.asked() == 1).await;
        let stopped = Instant::now();
        running.handle.stop(EndReason::Stopped, Duration::ZERO);
        let ran = running.end().await;
        assert_eq!(ran.ending.reason, EndReason::Stopped, "{wait}");
        assert!(stopped.elapsed() < Duration::from_secs(2), "{wait}");
        if !fills {
            until(|| upstream.broken() > 0).await; // a server that reads nothing sees no end
        }
    }
}

#[tokio::test]
async fn what_a_guest_reads_is_paid_for_by_the_byte() {
    let fuel = async |times: u32| {
        let body = format!(
            "(local $left i32) (local.set $left (i32.const {times})) {}
             (loop $more {}
               (local.set $left (i32.sub (local.get $left) (call $done)))
               (br_if $more (i32.gt_s (local.get $left) (i32.const 0))))",
            opened("GET", "/endless", 0),
            is("(call $read (call $fd))", 0),
        );
        run(&body).await.usage.fuel
    };
    let (little, much) = (fuel(100_000).await, fuel(1_100_000).await);
    assert!(much - little >= 4 * 900_000, "{little} {much}");
}

#[tokio::test]
async fn forbidden_headers_of_an_answer_are_not_seen_and_those_of_a_request_refused() {
    let url = "http://api.example/headers";
    let host = call(&open("GET", url, "host: other.example\n", 0), 28);
    let body = format!(
        "{host}{} {HEAD}",
        call(&open("GET", url, "x-mine: 1\n", 0), 0)
    );
    let ran = run(&body).await;
    assert!(!ran.stdout.contains("connection:"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_descriptor_of_an_exchange_is_neither_file_nor_stream() {
    let body = format!(
        "{} {} {} {} {} {} {}",
        opened("GET", "/hello", 0),
        is(
            "(call $fd_seek (call $fd) (i64.const 0) (i32.const 0) (i32.const 80))",
            70
        ),
        is(
            "(call $fd_pread (call $fd) (i32.const 128) (i32.const 1) (i64.const 0) (i32.const 80))",
            70
        ),
        is(
            "(call $fd_readdir (call $fd) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 80))",
            54
        ),
        is("(call $sock_shutdown (call $fd) (i32.const 2))", 57),
        is("(call $fd_fdstat_get (call $fd) (i32.const 1024))", 0),
        is("(i32.load8_u (i32.const 1024))", 0),
    );
    run(&body).await;
}
