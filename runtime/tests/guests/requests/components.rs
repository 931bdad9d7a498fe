//! Requests of components: the same bounds and the same closed door, by `wasi:http`.

use std::time::{Duration, Instant};

use agentvm_policy::EndReason;

use super::upstream::{Upstream, nowhere};
use crate::components::component;
use crate::harness::{Guest, PATIENCE, Ran, until};

/// Cases of `error-code`, by their place in it.
const CONNECTION_REFUSED: i32 = 6;
const CONNECTION_LIMIT: i32 = 11;
const DENIED: i32 = 15;
const RESPONSE_TIMEOUT: i32 = 33;

const POLL: &str = "(import \"wasi:io/poll@0.2.0\" (instance $poll
      (export \"pollable\" (type (sub resource)))
      (export \"[method]pollable.block\" (func (param \"self\" (borrow 0))))))
    (alias export $poll \"pollable\" (type $pollable))";

const TYPES: &str = "(import \"wasi:http/types@0.2.3\" (instance $types
      (alias outer 1 $pollable (type $p))
      (export \"pollable\" (type $pollable (eq $p)))
      (export \"fields\" (type $fields (sub resource)))
      (type $he (variant (case \"invalid-syntax\") (case \"forbidden\") (case \"immutable\")))
      (export \"header-error\" (type $header-error (eq $he)))
      (type $dp (record (field \"rcode\" (option string)) (field \"info-code\" (option u16))))
      (export \"DNS-error-payload\" (type $dns (eq $dp)))
      (type $tp (record (field \"alert-id\" (option u8)) (field \"alert-message\" (option string))))
      (export \"TLS-alert-received-payload\" (type $tls (eq $tp)))
      (type $fp (record (field \"field-name\" (option string)) (field \"field-size\" (option u32))))
      (export \"field-size-payload\" (type $size (eq $fp)))
      (type $ec (variant (case \"DNS-timeout\") (case \"DNS-error\" $dns)
        (case \"destination-not-found\") (case \"destination-unavailable\")
        (case \"destination-IP-prohibited\") (case \"destination-IP-unroutable\")
        (case \"connection-refused\") (case \"connection-terminated\")
        (case \"connection-timeout\") (case \"connection-read-timeout\")
        (case \"connection-write-timeout\") (case \"connection-limit-reached\")
        (case \"TLS-protocol-error\") (case \"TLS-certificate-error\")
        (case \"TLS-alert-received\" $tls) (case \"HTTP-request-denied\")
        (case \"HTTP-request-length-required\") (case \"HTTP-request-body-size\" (option u64))
        (case \"HTTP-request-method-invalid\") (case \"HTTP-request-URI-invalid\")
        (case \"HTTP-request-URI-too-long\")
        (case \"HTTP-request-header-section-size\" (option u32))
        (case \"HTTP-request-header-size\" (option $size))
        (case \"HTTP-request-trailer-section-size\" (option u32))
        (case \"HTTP-request-trailer-size\" $size) (case \"HTTP-response-incomplete\")
        (case \"HTTP-response-header-section-size\" (option u32))
        (case \"HTTP-response-header-size\" $size)
        (case \"HTTP-response-body-size\" (option u64))
        (case \"HTTP-response-trailer-section-size\" (option u32))
        (case \"HTTP-response-trailer-size\" $size)
        (case \"HTTP-response-transfer-coding\" (option string))
        (case \"HTTP-response-content-coding\" (option string))
        (case \"HTTP-response-timeout\") (case \"HTTP-upgrade-failed\")
        (case \"HTTP-protocol-error\") (case \"loop-detected\") (case \"configuration-error\")
        (case \"internal-error\" (option string))))
      (export \"error-code\" (type $error-code (eq $ec)))
      (export \"outgoing-request\" (type $request (sub resource)))
      (export \"outgoing-response\" (type $made (sub resource)))
      (export \"outgoing-body\" (type $body (sub resource)))
      (export \"request-options\" (type $options (sub resource)))
      (export \"incoming-response\" (type $answer (sub resource)))
      (export \"future-incoming-response\" (type $waiting (sub resource)))
      (export \"[constructor]fields\" (func (result (own $fields))))
      (export \"[method]fields.append\" (func (param \"self\" (borrow $fields))
        (param \"name\" string) (param \"value\" (list u8)) (result (result (error $header-error)))))
      (export \"[method]fields.clone\" (func (param \"self\" (borrow $fields)) (result (own $fields))))
      (export \"[constructor]outgoing-request\" (func (param \"headers\" (own $fields))
        (result (own $request))))
      (export \"[constructor]outgoing-response\" (func (param \"headers\" (own $fields))
        (result (own $made))))
      (export \"[method]outgoing-request.set-authority\" (func (param \"self\" (borrow $request))
        (param \"authority\" (option string)) (result (result))))
      (export \"[method]outgoing-request.set-path-with-query\" (func
        (param \"self\" (borrow $request)) (param \"path-with-query\" (option string))
        (result (result))))
      (export \"[method]outgoing-request.body\" (func (param \"self\" (borrow $request))
        (result (result (own $body)))))
      (export \"[constructor]request-options\" (func (result (own $options))))
      (export \"[method]request-options.set-first-byte-timeout\" (func
        (param \"self\" (borrow $options)) (param \"duration\" (option u64)) (result (result))))
      (export \"[method]future-incoming-response.subscribe\" (func
        (param \"self\" (borrow $waiting)) (result (own $pollable))))
      (export \"[method]future-incoming-response.get\" (func (param \"self\" (borrow $waiting))
        (result (option (result (result (own $answer) (error $error-code)))))))
      (export \"[method]incoming-response.status\" (func (param \"self\" (borrow $answer))
        (result u16)))))
    (alias export $types \"outgoing-request\" (type $request))
    (alias export $types \"request-options\" (type $options))
    (alias export $types \"future-incoming-response\" (type $waiting))
    (alias export $types \"error-code\" (type $error))
    (import \"wasi:http/outgoing-handler@0.2.3\" (instance $handler
      (alias outer 1 $request (type $r))
      (export \"outgoing-request\" (type $request (eq $r)))
      (alias outer 1 $options (type $o))
      (export \"request-options\" (type $options (eq $o)))
      (alias outer 1 $waiting (type $w))
      (export \"future-incoming-response\" (type $waiting (eq $w)))
      (alias outer 1 $error (type $e))
      (export \"error-code\" (type $error-code (eq $e)))
      (export \"handle\" (func (param \"request\" (own $request))
        (param \"options\" (option (own $options)))
        (result (result (own $waiting) (error $error-code)))))))";

const LOWERED: [(&str, &str, &str); 14] = [
    (
        "fields",
        "(canon lower (func $types \"[constructor]fields\"))",
        "(result i32)",
    ),
    (
        "append",
        "(canon lower (func $types \"[method]fields.append\") (memory $memory))",
        "(param i32 i32 i32 i32 i32 i32)",
    ),
    (
        "clone",
        "(canon lower (func $types \"[method]fields.clone\"))",
        "(param i32) (result i32)",
    ),
    (
        "request",
        "(canon lower (func $types \"[constructor]outgoing-request\"))",
        "(param i32) (result i32)",
    ),
    (
        "made",
        "(canon lower (func $types \"[constructor]outgoing-response\"))",
        "(param i32) (result i32)",
    ),
    (
        "authority",
        "(canon lower (func $types \"[method]outgoing-request.set-authority\") (memory $memory))",
        "(param i32 i32 i32 i32) (result i32)",
    ),
    (
        "path",
        "(canon lower (func $types \"[method]outgoing-request.set-path-with-query\") (memory $memory))",
        "(param i32 i32 i32 i32) (result i32)",
    ),
    (
        "body",
        "(canon lower (func $types \"[method]outgoing-request.body\") (memory $memory))",
        "(param i32 i32)",
    ),
    (
        "options",
        "(canon lower (func $types \"[constructor]request-options\"))",
        "(result i32)",
    ),
    (
        "first_byte",
        "(canon lower (func $types \"[method]request-options.set-first-byte-timeout\"))",
        "(param i32 i32 i64) (result i32)",
    ),
    (
        "subscribe",
        "(canon lower (func $types \"[method]future-incoming-response.subscribe\"))",
        "(param i32) (result i32)",
    ),
    (
        "get",
        "(canon lower (func $types \"[method]future-incoming-response.get\") (memory $memory) (realloc $realloc))",
        "(param i32 i32)",
    ),
    (
        "handle",
        "(canon lower (func $handler \"handle\") (memory $memory) (realloc $realloc))",
        "(param i32 i32 i32 i32)",
    ),
    (
        "block",
        "(canon lower (func $poll \"[method]pollable.block\"))",
        "(param i32)",
    ),
];

/// What bodies exit by, with what they have found.
const EXIT: (&str, &str, &str) = (
    "exit",
    "(canon lower (func $exit \"exit-with-code\"))",
    "(param i32)",
);
const EXIT_TYPES: &str = "(import \"wasi:cli/exit@0.2.12\" (instance $exit
    (export \"exit-with-code\" (func (param \"status-code\" u8)))))";

/// A component whose `run` has `body`; `api.example` lies at 512, `/never` at 544, a name at 576.
fn guest(body: &str) -> Guest {
    let mut lowered = LOWERED.to_vec();
    lowered.push(EXIT);
    let mut texts = String::new();
    for (at, text) in [(512, "api.example"), (544, "/never"), (576, "x-name")] {
        for (byte, at) in text.bytes().zip(at..) {
            texts += &format!("(i32.store8 (i32.const {at}) (i32.const {byte}))");
        }
    }
    let (locals, body) = body.split_once(';').unwrap_or(("", body));
    let body = format!("{locals} {texts} {body} (i32.const 0)");
    let text = component(&format!("{POLL}{TYPES}{EXIT_TYPES}"), &lowered, &body);
    Guest::wat(&text).limits(|limits| {
        limits.connections = 4;
        limits.memory_bytes = 2 << 20;
    })
}

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
