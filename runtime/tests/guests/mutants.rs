//! With a guard switched off, the attack it holds back succeeds: so the tests of the
//! guards can fail.

use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::{Guard, switch_off};

use crate::harness::{Guest, Ran, say};

/// Runs `guest` with and without `guard`, on this very thread.
fn with_and_without(guard: Guard, guest: impl Fn() -> Guest) -> (Ran, Ran) {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let with = runtime().block_on(guest().run());
    let without = switch_off(guard, || runtime().block_on(guest().run()));
    (with, without)
}

#[test]
fn c02_without_the_charge_little_fuel_buys_much_host_work() {
    let body = "(local $i i32) (loop $again
        (drop (call $random_get (i32.const 0) (i32.const 1048576)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 50))))";
    let (with, without) = with_and_without(Guard::HostCallCharge, || {
        Guest::with("(memory (export \"memory\") 16)", body).fuel(10_000)
    });
    assert_eq!(with.ending.reason, EndReason::OutOfFuel);
    assert_eq!(without.ending.reason, EndReason::Completed);
}

#[test]
fn d01_without_the_charge_memory_grows_above_the_limit() {
    let body = "(call $proc_exit (memory.grow (i32.const 1000)))";
    let (with, without) = with_and_without(Guard::MemoryCharge, || Guest::body(body));
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(-1), Some(1))
    );
}

#[test]
fn d02_without_the_charge_tables_grow_above_the_limit() {
    let body = "(call $proc_exit (table.grow $t (ref.null func) (i32.const 60000)))";
    let (with, without) = with_and_without(Guard::TableCharge, || {
        Guest::with("(table $t 2 funcref)", body).limits(|l| l.memory_bytes = 128 << 10)
    });
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(-1), Some(2))
    );
}

#[test]
fn c07_without_the_bound_a_poll_takes_any_number_of_subscriptions() {
    let body = "(call $proc_exit (call $poll_oneoff
        (i32.const 0) (i32.const 500000) (i32.const 10000) (i32.const 1000000)))";
    let (with, without) = with_and_without(Guard::PollBound, || {
        Guest::with("(memory (export \"memory\") 16)", body)
    });
    assert_eq!(
        (with.ending.exit_code, without.ending.exit_code),
        (Some(28), Some(0))
    );
}

#[test]
fn c12_without_the_quota_nobody_is_delayed() {
    let (with, without) = with_and_without(Guard::CpuQuota, || {
        Guest::body("(loop $again (br $again))").limits(|l| {
            l.cpu_millicores = 10;
            l.timeout_ms = Some(2_000);
        })
    });
    assert!(with.usage.throttled > Duration::ZERO);
    assert_eq!(without.usage.throttled, Duration::ZERO);
}

#[test]
fn without_the_wake_a_guest_that_waits_for_input_never_learns_of_the_stop() {
    let body = format!(
        "{} (i32.store (i32.const 4) (i32.const 8))
         (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)))",
        say("waiting")
    );
    let stopped = || async {
        let running = Guest::body(&body).start();
        running.says("waiting").await;
        running
            .handle
            .stop(EndReason::Stopped, Duration::from_millis(300));
        running.end().await.ending.exit_code
    };
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    assert_eq!(runtime().block_on(stopped()), Some(0));
    assert_eq!(
        switch_off(Guard::StdinWake, || runtime().block_on(stopped())),
        None
    );
}
