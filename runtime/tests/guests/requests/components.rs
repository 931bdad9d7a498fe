//! Requests of components: the same bounds and the same closed door, by `wasi:http`.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use agentvm_policy::EndReason;

use super::upstream::{Upstream, nowhere};
use super::wasi::{guest, stored};
use crate::harness::{Guest, PATIENCE, Ran, until};

/// Cases of `error-code`, by their place in it.
const CONNECTION_REFUSED: i32 = 6;
const CONNECTION_LIMIT: i32 = 11;
const DENIED: i32 = 15;
const INVALID: i32 = 19;
const RESPONSE_TIMEOUT: i32 = 33;

/// Asks for `/never` or another path of six letters with `options`; what came of it lies at 0.
fn asked(options: &str) -> String {
    format!(
        "(local.set $request (call $request (call $fields)))
         (drop (call $authority (local.get $request) (i32.const 1) (i32.const 512) (i32.const 11)))
         (drop (call $path (local.get $request) (i32.const 1) (i32.const 544) (i32.const 6)))
         (call $handle (local.get $request) {options} (i32.const 0))"
    )
}

const NO_OPTIONS: &str = "(i32.const 0) (i32.const 0)";
/// Exits with 100 where it went well, and else with the case of the error.
const TOLD: &str = "(call $exit (select (i32.const 100) (i32.load8_u (i32.const 8))
    (i32.eqz (i32.load8_u (i32.const 0)))))";

/// A component that makes `times` requests and keeps them, and tells what came of the last.
pub(crate) fn asks(times: u32) -> Guest {
    guest(&format!(
        "(local $request i32) (local $left i32); (local.set $left (i32.const {times}))
         (loop $more {}
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))
         {TOLD}",
        asked(NO_OPTIONS)
    ))
}

fn code(ran: &Ran) -> i32 {
    ran.ending
        .exit_code
        .unwrap_or_else(|| panic!("it did not exit: {:?}", ran.ending))
}

#[tokio::test]
async fn f01_a_component_without_a_network_is_denied_at_once_and_counted() {
    let upstream = Upstream::start().await;
    let closed = asks(3).network(upstream.way());
    for guest in [closed.grants(|grants| grants.network = false), asks(3)] {
        let ran = guest.run().await;
        assert_eq!(code(&ran), DENIED);
        assert_eq!(ran.usage.denials.get("network"), Some(&3));
    }
    assert_eq!(upstream.asked(), 0);
}

#[tokio::test]
async fn f27_a_components_requests_in_flight_are_bounded() {
    let upstream = Upstream::start().await;
    assert_eq!(code(&asks(4).network(upstream.way()).run().await), 100);
    let over = asks(5).network(upstream.way()).run().await;
    assert_eq!(code(&over), CONNECTION_LIMIT);
}

/// What comes of a request: the case of its error, or 100.
fn waited(options: &str) -> String {
    format!(
        "{} (local.set $waiting (i32.load (i32.const 8)))
         (call $block (call $subscribe (local.get $waiting)))
         (call $get (local.get $waiting) (i32.const 64))
         (call $exit (select (i32.const 100) (i32.load8_u (i32.const 88))
           (i32.eqz (i32.load8_u (i32.const 80)))))",
        asked(options)
    )
}

const WAIT_LOCALS: &str = "(local $request i32) (local $waiting i32) (local $options i32)";

#[tokio::test]
async fn a_component_is_told_why_a_request_failed() {
    let text = format!("{WAIT_LOCALS};{}", waited(NO_OPTIONS));
    let ran = guest(&text).network(nowhere()).run().await;
    assert_eq!(code(&ran), CONNECTION_REFUSED);
}

#[tokio::test]
async fn f28_a_component_that_gives_no_time_still_gets_an_answer_that_it_is_over() {
    let upstream = Upstream::start().await;
    let options = "(i32.const 1) (local.get $options)";
    let text = |time: i64| {
        format!(
            "{WAIT_LOCALS};(local.set $options (call $options))
             (drop (call $first_byte (local.get $options) (i32.const 1) (i64.const {time})))
             {}",
            waited(options)
        )
    };
    let running = guest(&text(-1)).network(upstream.way()).start();
    until(|| upstream.asked() == 1).await; // and it waits
    let stopped = Instant::now();
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    assert_eq!(running.end().await.ending.reason, EndReason::Stopped);
    assert!(stopped.elapsed() < Duration::from_secs(2));
    until(|| upstream.broken() > 0).await;
    // The time to connect is what the host gives, so that this takes ten seconds.
    let ran = guest(&text(0)).network(upstream.way()).run().await;
    assert_eq!(code(&ran), RESPONSE_TIMEOUT);
    assert!(ran.wall < PATIENCE);
}

#[tokio::test]
async fn d04_the_options_of_a_request_go_with_it() {
    // More than it may have handles, by far.
    let ran = guest(&format!(
        "(local $request i32) (local $left i32); (local.set $left (i32.const 5000))
         (loop $more {}
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))
         {TOLD}",
        asked("(i32.const 1) (call $options)")
    ));
    let ran = ran
        .limits(|limits| limits.memory_bytes = 65_536)
        .run()
        .await;
    assert_eq!(code(&ran), DENIED);
}

#[tokio::test]
async fn d04_headers_that_a_component_keeps_are_its_memory() {
    // Each of 1,000 handles would hold 32 KiB.
    let ran = hoards_headers().run().await;
    assert_eq!(ran.ending.exit_code, None, "{:?}", ran.ending);
    assert!(ran.usage.memory_peak_bytes <= 2 << 20);
}

/// A component that fills headers as far as they go and copies them many times.
pub(crate) fn hoards_headers() -> Guest {
    guest(
        "(local $fields i32) (local $left i32); (local.set $fields (call $fields))
         (local.set $left (i32.const 31))
         (loop $more
           (call $append (local.get $fields) (i32.const 576) (i32.const 6)
             (i32.const 640) (i32.const 0) (i32.const 0))
           (call $append (local.get $fields) (i32.const 576) (i32.const 6)
             (i32.const 8192) (i32.const 1000) (i32.const 0))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))
         (local.set $left (i32.const 900))
         (loop $more
           (drop (call $clone (local.get $fields)))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))",
    )
}

#[tokio::test]
async fn headers_of_a_component_are_bounded_in_number_and_size_and_never_trap() {
    for (length, fits) in [(0, 100), (1_000, 32), (32_000, 1), (40_000, 0)] {
        let text = format!(
            "(local $fields i32) (local $fit i32); (local.set $fields (call $fields))
             (loop $more
               (call $append (local.get $fields) (i32.const 576) (i32.const 6)
                 (i32.const 8192) (i32.const {length}) (i32.const 0))
               (if (i32.eqz (i32.load8_u (i32.const 0))) (then
                 (local.set $fit (i32.add (local.get $fit) (i32.const 1)))
                 (br $more))))
             (call $exit (local.get $fit))"
        );
        // Values are of zeros, which no header has: spaces instead.
        let text = text.replacen(
            "(local.set $fields",
            "(memory.fill (i32.const 8192) (i32.const 32) (i32.const 57344)) (local.set $fields",
            1,
        );
        let ran = guest(&text).run().await;
        assert_eq!(code(&ran), fits, "{length}: {:?}", ran.ending);
    }
}

#[tokio::test]
async fn f29_a_long_path_is_refused_and_not_kept() {
    let text = "(local $request i32); (local.set $request (call $request (call $fields)))
        (memory.fill (i32.const 8192) (i32.const 47) (i32.const 57344))
        (call $exit (i32.or
          (i32.shl (call $path (local.get $request) (i32.const 1) (i32.const 8192) (i32.const 8193)) (i32.const 1))
          (call $path (local.get $request) (i32.const 1) (i32.const 8192) (i32.const 8192))))";
    assert_eq!(code(&guest(text).run().await), 2);
}

#[tokio::test]
async fn f18_a_length_that_is_none_is_no_header() {
    for (length, is_refused) in [("+5", 1), ("-5", 1), ("5,5", 1), ("0x5", 1), ("5", 0)] {
        let mut text = String::from("(local $fields i32);");
        text += &(stored(600, "content-length") + &stored(620, length));
        write!(
            text,
            "(local.set $fields (call $fields))
             (call $append (local.get $fields) (i32.const 600) (i32.const 14)
               (i32.const 620) (i32.const {}) (i32.const 0))
             (call $exit (i32.load8_u (i32.const 0)))",
            length.len()
        )
        .unwrap();
        assert_eq!(code(&guest(&text).run().await), is_refused, "{length}");
    }
}

#[tokio::test]
async fn a_request_needs_a_host_and_no_path() {
    let upstream = Upstream::start().await;
    let text = format!(
        "(local $request i32); (local.set $request (call $request (call $fields)))
         (drop (call $authority (local.get $request) (i32.const 1) (i32.const 512) (i32.const 11)))
         (call $handle (local.get $request) {NO_OPTIONS} (i32.const 0)) {TOLD}"
    );
    assert_eq!(code(&guest(&text).network(upstream.way()).run().await), 100);
    let nobody = format!(
        "(local $request i32); (local.set $request (call $request (call $fields)))
         (call $handle (local.get $request) {NO_OPTIONS} (i32.const 0)) {TOLD}"
    );
    let ran = guest(&nobody).network(upstream.way()).run().await;
    assert_eq!(code(&ran), INVALID);
}

#[tokio::test]
async fn a_component_can_not_make_an_answer() {
    let ran = guest("(drop (call $made (call $fields)))").run().await;
    assert_eq!(ran.ending.reason, EndReason::Trap, "{:?}", ran.ending);
    assert!(ran.ending.message.contains("closed"), "{:?}", ran.ending);
}

#[tokio::test]
async fn a_body_that_nobody_takes_is_bounded_by_its_handle() {
    let ran = guest(
        "(local $left i32) (local $request i32); (local.set $left (i32.const 900))
         (loop $more
           (local.set $request (call $request (call $fields)))
           (call $body (local.get $request) (i32.const 0))
           (local.set $left (i32.sub (local.get $left) (i32.const 1)))
           (br_if $more (local.get $left)))",
    )
    .run()
    .await;
    assert_eq!(ran.ending.exit_code, None, "{:?}", ran.ending);
    assert!(ran.usage.memory_peak_bytes <= 2 << 20);
}
