//! Host calls cost fuel by call and by byte, and are bounded in what one of them can ask.

use std::sync::Mutex;
use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::Output;

use crate::harness::{Guest, PATIENCE};

#[tokio::test]
async fn c02_little_fuel_buys_little_host_work() {
    let body = "(loop $again
        (drop (call $random_get (i32.const 0) (i32.const 33554432))) (br $again))";
    let ran = Guest::with("(memory (export \"memory\") 512)", body)
        .limits(|l| l.memory_bytes = 64 << 20)
        .fuel(1_000_000)
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    assert!(
        ran.usage.cpu < Duration::from_millis(200),
        "{:?}",
        ran.usage.cpu
    );
}

#[tokio::test]
async fn c02_every_function_of_the_host_costs_fuel() {
    for call in [
        "(call $clock_res_get (i32.const 0) (i32.const 0))",
        "(call $fd_close (i32.const 9))",
        "(call $sched_yield)",
        "(call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 1))",
        "(call $args_sizes_get (i32.const 0) (i32.const 4))",
    ] {
        let body = format!("(loop $again (drop {call}) (br $again))");
        let ran = Guest::body(&body).fuel(1_000_000).run().await;
        assert_eq!(ran.ending.reason, EndReason::OutOfFuel, "{call}");
        assert!(
            ran.usage.cpu < Duration::from_millis(200),
            "{call}: {:?}",
            ran.usage.cpu
        );
    }
}

#[tokio::test]
async fn c02_what_the_host_copies_costs_fuel_by_byte() {
    let long = "x".repeat(100_000);
    for call in [
        "(call $environ_sizes_get (i32.const 0) (i32.const 4))",
        "(call $environ_get (i32.const 0) (i32.const 4))",
        // 1,024 empty buffers: nothing to write, and a long list to read.
        "(call $fd_write (i32.const 1) (i32.const 64) (i32.const 1024) (i32.const 0))",
    ] {
        let body = format!("(drop {call})");
        let guest = Guest::with("(memory (export \"memory\") 16)", &body).env("LONG", &long);
        let fuel = guest
            .limits(|l| l.memory_bytes = 2 << 20)
            .run()
            .await
            .usage
            .fuel;
        assert!(fuel > 30_000, "{call} costs {fuel}");
    }
}

#[tokio::test]
async fn random_bytes_come_all_and_differ_between_vms() {
    // Exits with the byte at the very end of a megabyte of random ones, unless it is zero.
    let body = "(loop $again
        (drop (call $random_get (i32.const 0) (i32.const 1048576)))
        (br_if $again (i32.eqz (i32.load8_u (i32.const 1048575)))))
        (call $proc_exit (i32.load (i32.const 1048572)))";
    let guest = || Guest::with("(memory (export \"memory\") 16)", body);
    assert_ne!(guest().exit_code().await, guest().exit_code().await);
}

/// Counts the bytes and the largest write.
#[derive(Default)]
struct Counts(std::sync::Arc<Mutex<(usize, usize)>>);

impl Output for Counts {
    fn write(&self, bytes: &[u8]) {
        let mut counts = self.0.lock().unwrap();
        *counts = (counts.0 + bytes.len(), counts.1.max(bytes.len()));
    }
}

#[tokio::test]
async fn b11_a_flood_of_output_comes_in_bounded_writes_and_costs_fuel_by_byte() {
    let body =
        "(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 500000))
        (loop $again
          (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
          (br $again))";
    let counts = Counts::default();
    let seen = std::sync::Arc::clone(&counts.0);
    let ran = Guest::with("(memory (export \"memory\") 16)", body)
        .stdout(counts)
        .fuel(10_000_000)
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    let (total, largest) = *seen.lock().unwrap();
    assert_eq!(largest, 64 << 10);
    assert!(total > 1 << 20 && total < 4 << 20, "{total}");
}

#[tokio::test]
async fn c07_a_poll_with_too_many_subscriptions_is_refused() {
    for (count, errno) in [(0, 28), (1_024, 0), (1_025, 28), (600_000, 28), (-1, 28)] {
        let body = format!(
            "(call $proc_exit (call $poll_oneoff (i32.const 0) (i32.const 100000)
                (i32.const {count}) (i32.const 65532)))"
        );
        let guest = Guest::with("(memory (export \"memory\") 16)", &body)
            .limits(|l| l.memory_bytes = 2 << 20);
        assert_eq!(guest.exit_code().await, errno, "{count}");
    }
}

#[tokio::test]
async fn c07_a_busy_poll_lets_others_run_and_pays() {
    let body = "(loop $again
        (drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))
        (br $again))";
    let busy = Guest::body(body).fuel(20_000_000).start();
    busy.handle.started().await;
    let other = tokio::time::timeout(PATIENCE, Guest::body("").exit_code())
        .await
        .unwrap();
    assert_eq!(other, 0);
    assert_eq!(busy.end().await.ending.reason, EndReason::OutOfFuel);
}
