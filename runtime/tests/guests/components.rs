//! Components of WASI 0.2: the same limits, the same closed doors, the same endings.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use agentvm_policy::EndReason;
use agentvm_runtime::Program;

use crate::harness::{Guest, PATIENCE, load};

/// A component whose `run` has `body` and whose core module imports what `imports` says.
///
/// `imports` are triples: a WIT import, a `canon` definition, and the core import by the
/// same name as the core function.
pub(crate) fn component(wit: &str, lowered: &[(&str, &str, &str)], body: &str) -> String {
    let mut definitions = String::new();
    let mut core_imports = String::new();
    let mut given = String::new();
    for (name, canon, ty) in lowered {
        write!(definitions, "(core func ${name} {canon})").unwrap();
        write!(
            core_imports,
            "(import \"host\" \"{name}\" (func ${name} {ty}))"
        )
        .unwrap();
        write!(given, "(export \"{name}\" (func ${name}))").unwrap();
    }
    format!(
        "(component {wit}
           (core module $libc
             (memory (export \"memory\") 1)
             (global $next (mut i32) (i32.const 1024))
             (func (export \"realloc\") (param i32 i32 i32 i32) (result i32)
               (global.set $next (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
               (global.get $next)
               (global.set $next (i32.add (global.get $next) (local.get 3)))))
           (core instance $libc (instantiate $libc))
           (alias core export $libc \"memory\" (core memory $memory))
           (alias core export $libc \"realloc\" (core func $realloc))
           {definitions}
           (core module $main
             (import \"libc\" \"memory\" (memory 1))
             {core_imports}
             (func (export \"run\") (result i32) {body}))
           (core instance $main (instantiate $main
             (with \"libc\" (instance $libc)) (with \"host\" (instance {given}))))
           (func $run (result (result)) (canon lift (core func $main \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.3\" (instance $i)))"
    )
}

const EXIT: &str = "(import \"wasi:cli/exit@0.2.3\" (instance $exit
    (export \"exit\" (func (param \"status\" (result))))
    ))";
const RANDOM: &str = "(import \"wasi:random/random@0.2.0\" (instance $random
    (export \"get-random-bytes\" (func (param \"len\" u64) (result (list u8))))
    (export \"get-random-u64\" (func (result u64)))))";
const RANDOM_BYTES: (&str, &str, &str) = (
    "bytes",
    "(canon lower (func $random \"get-random-bytes\") (memory $memory) (realloc $realloc))",
    "(param i64 i32)",
);
const RANDOM_U64: (&str, &str, &str) = (
    "u64",
    "(canon lower (func $random \"get-random-u64\"))",
    "(result i64)",
);
pub(crate) const CLOCK: &str = "(import \"wasi:io/poll@0.2.0\" (instance $poll
      (export \"pollable\" (type (sub resource)))
      (export \"[method]pollable.block\" (func (param \"self\" (borrow 0))))))
    (alias export $poll \"pollable\" (type $pollable))
    (import \"wasi:clocks/monotonic-clock@0.2.0\" (instance $clock
      (alias outer 1 $pollable (type $p))
      (export \"pollable\" (type $q (eq $p)))
      (export \"subscribe-duration\" (func (param \"when\" u64) (result (own $q))))))";
pub(crate) const SUBSCRIBE: (&str, &str, &str) = (
    "subscribe",
    "(canon lower (func $clock \"subscribe-duration\"))",
    "(param i64) (result i32)",
);
pub(crate) const BLOCK: (&str, &str, &str) = (
    "block",
    "(canon lower (func $poll \"[method]pollable.block\"))",
    "(param i32)",
);

#[tokio::test]
async fn a_components_result_is_its_exit_code() {
    for (result, reason) in [(0, EndReason::Completed), (1, EndReason::Error)] {
        let ran = Guest::wat(&component("", &[], &format!("(i32.const {result})")))
            .run()
            .await;
        assert_eq!(
            (ran.ending.reason, ran.ending.exit_code),
            (reason, Some(result))
        );
    }
}

#[tokio::test]
async fn a_component_can_exit_from_anywhere() {
    let lowered = [("exit", "(canon lower (func $exit \"exit\"))", "(param i32)")];
    let ran = Guest::wat(&component(
        EXIT,
        &lowered,
        "(call $exit (i32.const 1)) unreachable",
    ))
    .run();
    assert_eq!(ran.await.ending.exit_code, Some(1));
}

#[tokio::test]
async fn a_components_exit_code_is_exact() {
    let wit = "(import \"wasi:cli/exit@0.2.12\" (instance $exit
        (export \"exit-with-code\" (func (param \"status-code\" u8)))))";
    let lowered = [(
        "exit",
        "(canon lower (func $exit \"exit-with-code\"))",
        "(param i32)",
    )];
    let body = "(call $exit (i32.const 42)) unreachable";
    assert_eq!(
        Guest::wat(&component(wit, &lowered, body))
            .exit_code()
            .await,
        42
    );
}

#[tokio::test]
async fn c01_a_spinning_component_runs_out_of_fuel_or_is_stopped() {
    let text = component("", &[], "(loop $again (br $again)) (i32.const 0)");
    let ran = Guest::wat(&text).fuel(20_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    let running = Guest::wat(&text).start();
    running.handle.started().await;
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    assert_eq!(running.end().await.ending.reason, EndReason::Stopped);
}

#[tokio::test]
async fn c02_a_components_host_calls_cost_fuel_and_can_be_stopped() {
    let text = component(
        RANDOM,
        &[RANDOM_U64],
        "(loop $again (drop (call $u64)) (br $again)) (i32.const 0)",
    );
    let ran = Guest::wat(&text).fuel(1_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    assert!(
        ran.usage.cpu < Duration::from_millis(200),
        "{:?}",
        ran.usage.cpu
    );
    let running = Guest::wat(&text).start();
    running.handle.started().await;
    let asked = Instant::now();
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    assert_eq!(running.end().await.ending.reason, EndReason::Stopped);
    assert!(asked.elapsed() < Duration::from_secs(2));
}

/// Asks for `len` random bytes, for which it has no room where they are many.
pub(crate) fn asks_for_random_bytes(len: i64) -> Guest {
    let body = format!("(call $bytes (i64.const {len}) (i32.const 16)) (i32.const 0)");
    Guest::wat(&component(RANDOM, &[RANDOM_BYTES], &body))
}

#[tokio::test]
async fn d06_a_component_gets_no_more_random_bytes_than_the_host_allocates() {
    for (len, reason) in [(1_000, EndReason::Completed), (-1, EndReason::Trap)] {
        let ran = asks_for_random_bytes(len).run().await;
        assert_eq!(ran.ending.reason, reason, "{len}: {}", ran.ending.message);
    }
}

/// Sets `count` timers and keeps them all.
pub(crate) fn timers(count: u32) -> Guest {
    let body = format!(
        "(local $i i32)
         (loop $again
           (drop (call $subscribe (i64.const 1000000000)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
         (i32.const 0)"
    );
    Guest::wat(&component(CLOCK, &[SUBSCRIBE], &body))
}

#[tokio::test]
async fn c07_d04_timers_of_a_component_are_bounded() {
    assert_eq!(timers(500).exit_code().await, 0);
    let ran = timers(1_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::Trap);
    assert!(ran.usage.fuel < 10_000_000, "{}", ran.usage.fuel);
}

/// Polls one timer that is over, `count` times in one list.
pub(crate) fn polls(count: u32) -> Guest {
    let poll = (
        "poll",
        "(canon lower (func $poll \"poll\") (memory $memory) (realloc $realloc))",
        "(param i32 i32 i32)",
    );
    let clock = CLOCK.replace(
        "(export \"[method]pollable.block\"",
        "(export \"poll\" (func (param \"in\" (list (borrow 0))) (result (list u32))))
         (export \"[method]pollable.block\"",
    );
    let body = format!(
        "(local $i i32) (local $timer i32)
         (local.set $timer (call $subscribe (i64.const 0)))
         (loop $again
           (i32.store offset=16384 (i32.mul (local.get $i) (i32.const 4)) (local.get $timer))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
         (call $poll (i32.const 16384) (i32.const {count}) (i32.const 16))
         (i32.const 0)"
    );
    Guest::wat(&component(&clock, &[SUBSCRIBE, poll], &body))
}

#[tokio::test]
async fn c07_a_component_polls_no_more_handles_at_once_than_it_can_hold() {
    let guest = |count| polls(count).limits(|l| l.memory_bytes = 2 << 20);
    assert_eq!(guest(1_024).exit_code().await, 0);
    let ran = guest(1_025).run().await;
    assert_eq!(ran.ending.reason, EndReason::Trap);
    assert!(
        ran.ending.message.contains("1025 handles"),
        "{}",
        ran.ending.message
    );
}

#[tokio::test]
async fn d04_what_a_components_poll_holds_counts() {
    // 256 bytes each, of what its instances and the timer leave of 64 KiB, and its page is all that
    // it may have.
    let guest = |count| polls(count).limits(|l| l.memory_bytes = 65_536);
    let most = u32::try_from((65_536 - guest(1).instance_bytes() - 512) / 256).unwrap();
    assert_eq!(guest(most).exit_code().await, 0);
    let ran = guest(most + 1).run().await;
    assert_eq!(
        ran.ending.reason,
        EndReason::MemoryLimit,
        "{}",
        ran.ending.message
    );
}

/// Components that are in a host call whenever they are stopped.
pub(crate) fn in_host_calls() -> Vec<Program> {
    let endless = |wit: &str, lowered: &[(&str, &str, &str)], call: &str| {
        let body = format!("(loop $again {call} (br $again)) (i32.const 0)");
        load(&component(wit, lowered, &body)).unwrap()
    };
    vec![
        endless(RANDOM, &[RANDOM_U64], "(drop (call $u64))"),
        endless(
            RANDOM,
            &[RANDOM_BYTES],
            "(call $bytes (i64.const 16) (i32.const 64))",
        ),
        endless(
            CLOCK,
            &[SUBSCRIBE, BLOCK],
            "(call $block (call $subscribe (i64.const -1)))",
        ),
        endless(
            CLOCK,
            &[SUBSCRIBE, BLOCK],
            "(call $block (call $subscribe (i64.const 0)))",
        ),
    ]
}

#[tokio::test]
async fn c07_a_component_that_sleeps_forever_is_stopped() {
    let body = "(call $block (call $subscribe (i64.const -1))) (i32.const 0)";
    let running = Guest::wat(&component(CLOCK, &[SUBSCRIBE, BLOCK], body)).start();
    running.handle.started().await;
    running.handle.stop(EndReason::Fenced, Duration::ZERO);
    assert_eq!(running.end().await.ending.reason, EndReason::Fenced);
}

#[tokio::test]
async fn d01_a_component_above_its_memory_limit_never_runs() {
    let ran = Guest::wat(&component("", &[], "(i32.const 0)"))
        .limits(|l| l.memory_bytes = 4096)
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::MemoryLimit);
}

#[tokio::test]
async fn e05_sockets_are_linked_and_refused() {
    let wit = "(import \"wasi:sockets/network@0.2.0\" (instance $network
          (type $codes (enum \"unknown\" \"access-denied\" \"not-supported\"
            \"invalid-argument\" \"out-of-memory\" \"timeout\" \"concurrency-conflict\"
            \"not-in-progress\" \"would-block\" \"invalid-state\" \"new-socket-limit\"
            \"address-not-bindable\" \"address-in-use\" \"remote-unreachable\"
            \"connection-refused\" \"connection-reset\" \"connection-aborted\"
            \"datagram-too-large\" \"name-unresolvable\" \"temporary-resolver-failure\"
            \"permanent-resolver-failure\"))
          (export \"error-code\" (type (eq $codes)))
          (type $families (enum \"ipv4\" \"ipv6\"))
          (export \"ip-address-family\" (type (eq $families)))))
        (alias export $network \"error-code\" (type $code))
        (alias export $network \"ip-address-family\" (type $family))
        (import \"wasi:sockets/tcp@0.2.0\" (instance $tcp
          (export \"tcp-socket\" (type (sub resource)))))
        (alias export $tcp \"tcp-socket\" (type $socket))
        (import \"wasi:sockets/tcp-create-socket@0.2.0\" (instance $create
          (alias outer 1 $code (type $c)) (export \"error-code\" (type $code2 (eq $c)))
          (alias outer 1 $family (type $f)) (export \"ip-address-family\" (type $family2 (eq $f)))
          (alias outer 1 $socket (type $s)) (export \"tcp-socket\" (type $socket2 (eq $s)))
          (export \"create-tcp-socket\" (func (param \"address-family\" $family2)
            (result (result (own $socket2) (error $code2)))))))";
    let lowered = [(
        "create",
        "(canon lower (func $create \"create-tcp-socket\") (memory $memory))",
        "(param i32 i32)",
    )];
    // Fails unless the answer is an error, and that error is access-denied.
    let body = "(call $create (i32.const 0) (i32.const 16))
        (i32.or (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1))
                (i32.ne (i32.load8_u (i32.const 20)) (i32.const 1)))";
    let ran = Guest::wat(&component(wit, &lowered, body)).run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
    assert_eq!(ran.usage.denials.get("sockets"), Some(&1));
}

#[tokio::test]
async fn a_component_that_waits_for_input_is_woken_by_the_stop() {
    let wit = "(import \"wasi:io/error@0.2.0\" (instance $error (export \"error\" (type (sub resource)))))
        (alias export $error \"error\" (type $error))
        (import \"wasi:io/streams@0.2.0\" (instance $streams
          (export \"input-stream\" (type $in (sub resource)))
          (alias outer 1 $error (type $e)) (export \"error\" (type $e2 (eq $e)))
          (type $se (variant (case \"last-operation-failed\" (own $e2)) (case \"closed\")))
          (export \"stream-error\" (type $se2 (eq $se)))
          (export \"[method]input-stream.blocking-read\" (func (param \"self\" (borrow $in))
            (param \"len\" u64) (result (result (list u8) (error $se2)))))))
        (alias export $streams \"input-stream\" (type $in))
        (import \"wasi:cli/stdin@0.2.0\" (instance $stdin
          (alias outer 1 $in (type $i)) (export \"input-stream\" (type $i2 (eq $i)))
          (export \"get-stdin\" (func (result (own $i2))))))";
    let lowered = [
        (
            "stdin",
            "(canon lower (func $stdin \"get-stdin\"))",
            "(result i32)",
        ),
        (
            "read",
            "(canon lower (func $streams \"[method]input-stream.blocking-read\")
                (memory $memory) (realloc $realloc))",
            "(param i32 i64 i32)",
        ),
    ];
    // Succeeds only if the read fails with `closed`.
    let body = "(call $read (call $stdin) (i64.const 10) (i32.const 16))
        (i32.or (i32.ne (i32.load8_u (i32.const 16)) (i32.const 1))
                (i32.ne (i32.load8_u (i32.const 20)) (i32.const 1)))";
    let running = Guest::wat(&component(wit, &lowered, body)).start();
    running.handle.started().await;
    running.handle.stop(EndReason::Stopped, PATIENCE);
    let ran = running.end().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
}

#[tokio::test]
async fn a_component_writes_to_its_outputs_and_pays_by_the_byte() {
    let wit = "(import \"wasi:io/error@0.2.0\" (instance $error (export \"error\" (type (sub resource)))))
        (alias export $error \"error\" (type $error))
        (import \"wasi:io/streams@0.2.0\" (instance $streams
          (export \"output-stream\" (type $out (sub resource)))
          (alias outer 1 $error (type $e)) (export \"error\" (type $e2 (eq $e)))
          (type $se (variant (case \"last-operation-failed\" (own $e2)) (case \"closed\")))
          (export \"stream-error\" (type $se2 (eq $se)))
          (export \"[method]output-stream.blocking-write-and-flush\" (func
            (param \"self\" (borrow $out)) (param \"contents\" (list u8))
            (result (result (error $se2)))))))
        (alias export $streams \"output-stream\" (type $out))
        (import \"wasi:cli/stdout@0.2.0\" (instance $stdout
          (alias outer 1 $out (type $o)) (export \"output-stream\" (type $o2 (eq $o)))
          (export \"get-stdout\" (func (result (own $o2))))))";
    let lowered = [
        (
            "stdout",
            "(canon lower (func $stdout \"get-stdout\"))",
            "(result i32)",
        ),
        (
            "write",
            "(canon lower (func $streams \"[method]output-stream.blocking-write-and-flush\")
                (memory $memory))",
            "(param i32 i32 i32 i32)",
        ),
    ];
    let body = "(i32.store (i32.const 100) (i32.const 0x6a6b6c6d))
        (call $write (call $stdout) (i32.const 100) (i32.const 4) (i32.const 16))
        (i32.load8_u (i32.const 16))";
    let ran = Guest::wat(&component(wit, &lowered, body)).run().await;
    assert_eq!(
        (ran.ending.exit_code, ran.stdout.as_str()),
        (Some(0), "mlkj")
    );
    let body = "(call $write (call $stdout) (i32.const 100) (i32.const 4000) (i32.const 16)) (i32.const 0)";
    let more = Guest::wat(&component(wit, &lowered, body)).run().await;
    assert!(
        more.usage.fuel > ran.usage.fuel + 10_000,
        "{} {}",
        ran.usage.fuel,
        more.usage.fuel
    );
}
