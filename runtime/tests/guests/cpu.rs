//! CPU time: all that a VM causes is counted and held to its quota, whatever it does.

use std::time::{Duration, Instant};

use agentvm_policy::EndReason;
use agentvm_runtime::thread_cpu;

use crate::components::component;
use crate::harness::{Guest, Ran};

/// Runs `guest` on this thread alone; also says what CPU time the thread used meanwhile.
pub(crate) fn on_this_thread(guest: Guest) -> (Ran, Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let before = thread_cpu();
    let ran = runtime.block_on(guest.run());
    (ran, thread_cpu().saturating_sub(before))
}

/// A guest that gives up its turn as often as it can.
pub(crate) fn yields(times: u32) -> Guest {
    Guest::body(&format!(
        "(local $i i32)
         (loop $again
           (drop (call $sched_yield))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const {times}))))"
    ))
}

/// A guest that sleeps for as short as it can.
fn naps(times: u32) -> Guest {
    Guest::body(&format!(
        "(local $i i32)
         (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 1))
         (loop $again
           (drop (call $poll_oneoff
             (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const {times}))))"
    ))
}

#[test]
fn c02_c07_what_the_host_does_between_a_guests_turns_is_counted() {
    for guest in [yields(50_000), naps(300)] {
        let (ran, thread) = on_this_thread(guest);
        assert_eq!(ran.ending.reason, EndReason::Completed);
        let counted = ran.usage.cpu.as_secs_f64() / thread.as_secs_f64();
        assert!(
            counted > 0.8,
            "{counted}: {:?} of {thread:?}",
            ran.usage.cpu
        );
    }
}

const GIB_OF_MEMORY: &str = "(memory (export \"memory\") 16384)";
const FILL: &str = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 1073741824))";
const COPY: &str = "(memory.copy (i32.const 1) (i32.const 0) (i32.const 1073741823))";

/// Stores into so many pages of the system, which then has to find each.
pub(crate) fn store(pages: u32) -> String {
    format!(
        "(loop $page
           (i32.store (local.get $at) (i32.const 1))
           (local.set $at (i32.add (local.get $at) (i32.const 4096)))
           (br_if $page (i32.lt_u (local.get $at) (i32.const {}))))",
        pages << 12
    )
}

fn holds_a_gib(step: &str) -> Guest {
    let body = format!("(local $at i32) (loop $again {step} (br $again))");
    Guest::with(GIB_OF_MEMORY, &body).limits(|l| l.memory_bytes = 1 << 30)
}

#[tokio::test]
async fn c04_whoever_works_on_a_gib_is_held_to_the_lowest_quota() {
    let soak = std::env::var_os("AGENTVM_SOAK").is_some();
    let seconds = if soak { 10 } else { 3 };
    for step in [FILL, COPY, &store(262_143)] {
        let ran = holds_a_gib(step)
            .limits(|l| {
                l.cpu_millicores = 10;
                l.timeout_ms = Some(seconds * 1_000);
            })
            .run()
            .await;
        assert_eq!(ran.ending.reason, EndReason::DeadlineExceeded);
        // What the quota gives, its burst, and a tenth of what doing all of it at once takes: more
        // than a step, its start and its end do on a machine that is busy with other things.
        let most = Duration::from_millis(10 * (seconds + 1) + 40);
        assert!(ran.usage.cpu < most, "{step}: {:?}", ran.usage);
    }
}

#[tokio::test]
async fn c04_a_guest_in_an_instruction_on_a_gib_is_stopped_in_two_seconds() {
    for step in [FILL, COPY] {
        let running = holds_a_gib(step).start();
        running.handle.started().await;
        let asked = Instant::now();
        running.handle.stop(EndReason::Stopped, Duration::ZERO);
        assert_eq!(running.end().await.ending.reason, EndReason::Stopped);
        let took = asked.elapsed();
        assert!(took < Duration::from_secs(2), "{step}: {took:?}");
    }
}

#[tokio::test]
async fn c04_no_instruction_is_cheap_for_what_it_takes() {
    let fields = "(memory (export \"memory\") 2) (table $t 1000 funcref) (data $d \"abc\")
        (elem $e func $main)";
    for step in [
        "(memory.fill (i32.const 0) (i32.const 1) (local.get $zero))",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))",
        "(memory.copy (i32.const 0) (i32.const 1) (i32.const 65536))",
        "(memory.init $d (i32.const 0) (i32.const 0) (local.get $zero))",
        "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1000))",
        "(table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 999))",
        "(table.init $t $e (i32.const 0) (i32.const 0) (local.get $zero))",
        "(table.set $t (i32.const 0) (ref.func $main))",
        "(drop (memory.grow (i32.const 0)))",
        "(drop (memory.grow (i32.const 1000)))",
        "(drop (table.grow $t (ref.null func) (i32.const 0)))",
    ] {
        let body = format!("(local $zero i32) (loop $again {step} (br $again))");
        let ran = Guest::with(fields, &body).fuel(20_000_000).run().await;
        assert_eq!(ran.ending.reason, EndReason::OutOfFuel, "{step}");
        // At most 5 ns a unit; computing takes 0.05 to 0.5.
        assert!(
            ran.usage.cpu < Duration::from_millis(100),
            "{step}: {:?}",
            ran.usage
        );
    }
}

#[tokio::test]
async fn c01_no_shape_of_code_escapes_fuel_or_the_stop() {
    let many = "$a $b ".repeat(500);
    let table = format!(
        "(local $i i32) (loop $a (block $b
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_table {many} $a (i32.and (local.get $i) (i32.const 1023)))) (br $a))"
    );
    let returns = "(func $down (param i32) (if (local.get 0)
        (then (call $down (i32.sub (local.get 0) (i32.const 1))))))";
    let recursion = "(loop $again (call $down (i32.const 1000)) (br $again))";
    let tail = "(func $a (param i32) (return_call $b (local.get 0)))
        (func $b (param i32) (return_call $a (local.get 0)))";
    let indirect = "(table $t 1 funcref) (elem (i32.const 0) func $main)
        (type $v (func)) (func $f (loop $again (br_if $again (i32.eqz (ref.is_null (table.get $t (i32.const 0)))))))";
    for (fields, body) in [
        ("", table.as_str()),
        (returns, recursion),
        (tail, "(return_call $a (i32.const 1))"),
        (indirect, "(call $f)"),
    ] {
        let ran = Guest::with(fields, body).fuel(30_000_000).run().await;
        assert_eq!(ran.ending.reason, EndReason::OutOfFuel, "{body}");
        assert!(
            ran.usage.cpu < Duration::from_millis(500),
            "{:?}",
            ran.usage
        );
        let running = Guest::with(fields, body).start();
        running.handle.started().await;
        let asked = Instant::now();
        running.handle.stop(EndReason::Stopped, Duration::ZERO);
        assert_eq!(
            running.end().await.ending.reason,
            EndReason::Stopped,
            "{body}"
        );
        assert!(asked.elapsed() < Duration::from_secs(2));
    }
}

/// A component whose 60 instances each write a segment of data of 1 MiB into one memory.
fn writes_many_segments() -> Guest {
    let data = "a".repeat(1 << 20);
    let instances =
        "(core instance (instantiate $data (with \"libc\" (instance $all))))".repeat(60);
    let text = format!(
        "(component
           (core module $memory (memory (export \"memory\") 16))
           (core instance $all (instantiate $memory))
           (core module $data (import \"libc\" \"memory\" (memory 16))
             (data (i32.const 0) \"{data}\"))
           {instances}
           (core module $m (func (export \"run\") (result i32) (i32.const 0)))
           (core instance $m (instantiate $m))
           (func $run (result (result)) (canon lift (core func $m \"run\")))
           (instance $i (export \"run\" (func $run)))
           (export \"wasi:cli/run@0.2.3\" (instance $i)))"
    );
    Guest::wat(&text).limits(|l| l.memory_bytes = 2 << 20)
}

#[tokio::test]
async fn c05_what_is_written_before_the_start_is_paid_for() {
    let ran = writes_many_segments().run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
    assert!(ran.usage.fuel > 60 << 20, "{}", ran.usage.fuel);
    let ran = writes_many_segments().fuel(10_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
}

#[tokio::test]
async fn c05_a_components_start_that_never_returns_is_stopped_and_runs_out_of_fuel() {
    let text = component("", &[], "(i32.const 0)").replace(
        "(func (export \"run\")",
        "(func $spin (loop $again (br $again))) (start $spin) (func (export \"run\")",
    );
    let ran = Guest::wat(&text).fuel(10_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    let running = Guest::wat(&text).start();
    running.handle.started().await;
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    assert_eq!(running.end().await.ending.reason, EndReason::Stopped);
}
