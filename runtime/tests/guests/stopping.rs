//! A guest can be stopped wherever it is, learns it by its stdin, and leaves nothing.

use std::time::{Duration, Instant};

use agentvm_policy::EndReason;

use crate::harness::{Guest, PATIENCE, module, say, until};

const SPIN: &str = "(loop $again (br $again))";
const READ: &str =
    "(i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 8))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))";
/// Waits for one subscription at address 0.
const POLL: &str = "(drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1)
    (i32.const 512)))";
const ASK_FOR_READ: &str = "(i32.store8 (i32.const 8) (i32.const 1))";
const ASK_FOREVER: &str = "(i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const -1))";

async fn killed_soon(guest: Guest) {
    let running = guest.start();
    running.handle.started().await;
    let asked = Instant::now();
    running
        .handle
        .stop(EndReason::Evicted, Duration::from_millis(20));
    let ran = running.end().await;
    assert_eq!(
        (ran.ending.reason, ran.ending.exit_code),
        (EndReason::Evicted, None)
    );
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    assert_eq!(ran.usage.memory_bytes, 0);
}

#[tokio::test]
async fn c08_a_guest_is_stopped_wherever_it_is() {
    let random = "(loop $again
        (drop (call $random_get (i32.const 0) (i32.const 65536))) (br $again))";
    let quick = "(loop $again
        (drop (call $clock_res_get (i32.const 0) (i32.const 0))) (br $again))";
    let yields = "(loop $again (drop (call $sched_yield)) (br $again))";
    let sleeps = format!("{ASK_FOREVER} (loop $again {POLL} (br $again))");
    let reads = format!("(loop $again {READ} (br $again))");
    for body in [SPIN, random, quick, yields, &sleeps, &reads] {
        killed_soon(Guest::body(body)).await;
    }
}

#[tokio::test]
async fn c05_a_start_function_that_never_returns_is_stopped_and_runs_out_of_fuel() {
    let text = module(&format!("(func $init {SPIN}) (start $init)"), "");
    killed_soon(Guest::wat(&text)).await;
    let ran = Guest::wat(&text).fuel(10_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    let ran = Guest::wat(&text)
        .limits(|l| l.timeout_ms = Some(100))
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::DeadlineExceeded);
}

#[tokio::test]
async fn a_guest_that_waits_for_input_is_woken_and_ends_by_itself() {
    let reads = format!(
        "{} {READ} {}",
        say("waiting"),
        "(call $proc_exit (i32.const 7))"
    );
    let polls = format!(
        "{} {ASK_FOR_READ} {POLL} {}",
        say("waiting"),
        "(call $proc_exit (i32.const 7))"
    );
    for body in [reads, polls] {
        let running = Guest::body(&body).start();
        running.says("waiting").await;
        running.handle.stop(EndReason::Stopped, PATIENCE);
        let ran = running.end().await;
        assert_eq!(
            (ran.ending.reason, ran.ending.exit_code),
            (EndReason::Stopped, Some(7))
        );
    }
}

#[tokio::test]
async fn stdin_stays_silent_until_the_stop_and_is_at_its_end_after_it() {
    // A nonblocking read answers AGAIN while stdin is open, and 0 with no bytes after.
    let read = "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16))";
    let body = format!(
        "(drop (call $fd_fdstat_set_flags (i32.const 0) (i32.const 4)))
         (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 8))
         (if (i32.ne {read} (i32.const 6)) (then (call $proc_exit (i32.const 1))))
         {}
         {ASK_FOR_READ} {POLL}
         (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 8))
         (i32.store (i32.const 16) (i32.const 99))
         (if {read} (then (call $proc_exit (i32.const 2))))
         (call $proc_exit (i32.add (i32.const 10) (i32.load (i32.const 16))))",
        say("open")
    );
    let running = Guest::body(&body).start();
    running.says("open").await;
    running.handle.stop(EndReason::Stopped, PATIENCE);
    assert_eq!(running.end().await.ending.exit_code, Some(10));
}

#[tokio::test]
async fn a_later_stop_brings_the_end_forward_and_never_back() {
    let running = Guest::body(SPIN).start();
    running.handle.started().await;
    running.handle.stop(EndReason::Stopped, Duration::MAX);
    running.handle.stop(EndReason::Fenced, Duration::ZERO);
    running.handle.stop(EndReason::Evicted, PATIENCE);
    assert_eq!(running.end().await.ending.reason, EndReason::Fenced);
}

#[tokio::test]
async fn a_vm_stopped_before_it_starts_ends_without_a_guest_instruction() {
    let (vm, handle, kept) = Guest::body(&say("ran")).prepare();
    handle.stop(EndReason::Stopped, Duration::ZERO);
    assert_eq!(vm.run().await.reason, EndReason::Stopped);
    handle.started().await;
    assert_eq!(kept.text(), "");
}

#[tokio::test]
async fn whoever_waits_for_the_start_is_let_go_when_the_vm_is_dropped() {
    let (vm, handle, _) = Guest::body("").prepare();
    drop(vm);
    tokio::time::timeout(PATIENCE, handle.started())
        .await
        .unwrap();
}

#[tokio::test]
async fn d09_dropping_a_run_in_the_middle_frees_its_slot() {
    // The engine has 64 slots: without freeing, the 65th would find none.
    for _ in 0..200 {
        let (vm, handle, _) = Guest::body(READ).prepare();
        let task = tokio::spawn(vm.run());
        handle.started().await;
        task.abort();
        assert!(task.await.is_err());
        until(|| handle.usage().memory_bytes == 0).await;
    }
    assert_eq!(Guest::body("").exit_code().await, 0);
}
