//! Memory, tables, CPU time: limits that hold, and meters that tell.

use std::time::{Duration, Instant};

use agentvm_policy::EndReason;

use crate::harness::{Guest, until};

const SPIN: &str = "(loop $again (br $again))";

/// Grows by `instruction` until it is refused, and exits with the number of times it was not.
fn grow_until_refused(instruction: &str) -> String {
    format!(
        "(local $times i32)
         (block $refused
           (loop $again
             (br_if $refused (i32.eq {instruction} (i32.const -1)))
             (local.set $times (i32.add (local.get $times) (i32.const 1)))
             (br $again)))
         (call $proc_exit (local.get $times))"
    )
}

#[tokio::test]
async fn d01_memory_grows_to_the_limit_and_not_a_page_further() {
    let body = grow_until_refused("(memory.grow (i32.const 1))");
    let ran = Guest::body(&body).run().await;
    assert_eq!(ran.ending.exit_code, Some(15)); // 1 MiB is 16 pages, it starts with one
    assert_eq!(ran.usage.memory_peak_bytes, 1 << 20);
}

#[tokio::test]
async fn d01_a_memory_that_asks_for_everything_gets_nothing() {
    let ran = Guest::body("(call $proc_exit (memory.grow (i32.const 65535)))")
        .run()
        .await;
    assert_eq!(ran.ending.exit_code, Some(-1));
    assert_eq!(ran.usage.memory_peak_bytes, 65_536);
}

#[tokio::test]
async fn d02_tables_are_charged_to_the_memory_limit() {
    let grow = grow_until_refused("(table.grow $t (ref.null func) (i32.const 1024))");
    let ran = Guest::with("(table $t 0 60000 funcref)", &grow)
        .limits(|l| l.memory_bytes = 128 << 10)
        .run()
        .await;
    // 64 KiB are left beside the memory: eight times 1,024 elements of 8 bytes.
    assert_eq!(ran.ending.exit_code, Some(8));
    assert_eq!(ran.usage.memory_peak_bytes, 128 << 10);
}

#[tokio::test]
async fn d02_the_measured_attack_gets_no_table_at_all() {
    let body = "(local $i i32) (loop $again
        (drop (table.grow $t (ref.null func) (i32.const 1000000)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 800))))";
    let ran = Guest::with("(table $t 1 funcref)", body).run().await;
    assert_eq!(ran.ending.reason, EndReason::Completed);
    assert_eq!(ran.usage.memory_peak_bytes, 65_536 + 8);
}

#[tokio::test]
async fn memory_and_tables_have_one_limit_together() {
    let body = format!(
        "(drop (memory.grow (i32.const 14))) {}",
        "(call $proc_exit (table.grow $t (ref.null func) (i32.const 9000)))"
    );
    // 15 pages and 9,000 elements are above 1 MiB, either alone is not.
    assert_eq!(
        Guest::with("(table $t 0 funcref)", &body).exit_code().await,
        -1
    );
}

#[tokio::test]
async fn c04_filling_memory_costs_fuel_by_its_length() {
    let body = "(loop $again
        (memory.fill (i32.const 0) (i32.const 1) (i32.const 1048576)) (br $again))";
    let ran = Guest::with("(memory (export \"memory\") 16)", body)
        .fuel(100_000_000)
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    assert!(
        ran.usage.cpu < Duration::from_secs(1),
        "{:?}",
        ran.usage.cpu
    );
}

#[tokio::test]
async fn c12_a_guest_above_its_cpu_quota_is_delayed() {
    let ran = Guest::body(SPIN)
        .limits(|l| {
            l.cpu_millicores = 10;
            l.timeout_ms = Some(2_000);
        })
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::DeadlineExceeded);
    // A burst of 10 ms and then a hundredth of the time, so that a busy machine gives more.
    assert!(
        ran.usage.cpu < Duration::from_millis(200),
        "{:?}",
        ran.usage
    );
    assert!(ran.usage.throttled > Duration::ZERO, "{:?}", ran.usage);
}

#[tokio::test]
async fn raising_the_quota_ends_the_delay_at_once() {
    let running = Guest::body(SPIN).limits(|l| l.cpu_millicores = 1).start();
    // Its burst of 1 ms is gone; the next period would be saved up in 100 s.
    until(|| running.handle.usage().cpu > Duration::from_millis(1)).await;
    let before = running.handle.usage().cpu;
    running.handle.set_cpu_millicores(1_000);
    until(|| running.handle.usage().cpu > before + Duration::from_millis(20)).await;
    assert!(running.handle.usage().throttled > Duration::ZERO);
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    running.end().await;
}

#[tokio::test]
async fn the_time_of_a_delay_is_told_while_it_lasts() {
    let running = Guest::body(SPIN).limits(|l| l.cpu_millicores = 1).start();
    until(|| running.handle.usage().throttled > Duration::from_millis(50)).await;
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    assert!(running.end().await.usage.throttled > Duration::from_millis(50));
}

#[tokio::test]
async fn usage_is_live_while_a_guest_does_nothing_but_compute() {
    let running = Guest::body(SPIN).start();
    until(|| running.handle.usage().fuel > 5_000_000).await;
    until(|| running.handle.usage().cpu > Duration::from_millis(1)).await;
    assert_eq!(running.handle.usage().memory_bytes, 65_536);
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    running.end().await;
}

#[tokio::test]
async fn a_spinning_guest_lets_others_run_on_the_same_thread() {
    let spinning = Guest::body(SPIN).start();
    spinning.handle.started().await;
    let asked = Instant::now();
    assert_eq!(Guest::body("").exit_code().await, 0);
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    spinning.handle.stop(EndReason::Stopped, Duration::ZERO);
    spinning.end().await;
}
