//! Each way to end has its reason, its exit code and a sentence that helps.

use agentvm_policy::EndReason;
use agentvm_runtime::{Output, host_panics_total};

use crate::harness::{Guest, say};

#[tokio::test]
async fn a_program_that_returns_is_completed_with_what_it_wrote() {
    let ran = Guest::body(&say("hello\n")).run().await;
    assert_eq!(
        (ran.ending.reason, ran.ending.exit_code),
        (EndReason::Completed, Some(0))
    );
    assert_eq!(ran.stdout, "hello\n");
    assert_eq!(ran.usage.memory_bytes, 0);
    assert_eq!(ran.usage.memory_peak_bytes, 65_536);
}

#[tokio::test]
async fn exit_codes_are_exact() {
    for (code, reason) in [
        (0, EndReason::Completed),
        (1, EndReason::Error),
        (3, EndReason::Error),
        (255, EndReason::Error),
        (70_000, EndReason::Error),
        (-1, EndReason::Error),
    ] {
        let ran = Guest::body(&format!("(call $proc_exit (i32.const {code}))"))
            .run()
            .await;
        assert_eq!(
            (ran.ending.reason, ran.ending.exit_code),
            (reason, Some(code))
        );
        assert!(
            ran.ending.message.contains(&format!("code {code}")),
            "{}",
            ran.ending.message
        );
    }
}

#[tokio::test]
async fn a_trap_is_named_with_the_functions_it_went_through() {
    let ran = Guest::with("(func $inner unreachable)", "(call $inner)")
        .run()
        .await;
    assert_eq!(
        (ran.ending.reason, ran.ending.exit_code),
        (EndReason::Trap, None)
    );
    let message = ran.ending.message;
    assert!(
        message.contains("unreachable") && message.contains("inner < main"),
        "{message}"
    );
}

#[tokio::test]
async fn a_name_chosen_by_the_guest_can_not_forge_a_line_or_flood_the_message() {
    let name = format!("evil\\n\\1b[31m{}", "x".repeat(10_000));
    let ran = Guest::with(
        &format!("(func $\"{name}\" unreachable)"),
        &format!("(call $\"{name}\")"),
    )
    .run()
    .await;
    let message = ran.ending.message;
    assert!(
        message.len() < 1_024 && !message.contains(['\n', '\u{1b}']),
        "{message:?}"
    );
}

#[tokio::test]
async fn c14_endless_recursion_is_a_trap() {
    let fields = "(func $down (param i64) (call $down (local.get 0)))";
    let ran = Guest::with(fields, "(call $down (i64.const 1))")
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::Trap);
    assert!(
        ran.ending.message.contains("call stack exhausted"),
        "{}",
        ran.ending.message
    );
    assert!(ran.ending.message.len() < 1_024);
}

#[tokio::test]
async fn c01_a_spinning_program_ends_out_of_fuel_and_is_told_which_field_to_raise() {
    for body in [
        "(loop $again (br $again))",
        "(loop $again (block $0 (block $1 (br_table $0 $1 (i32.const 7)))) (br $again))",
    ] {
        let ran = Guest::body(body).fuel(50_000_000).run().await;
        assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
        assert!(
            ran.ending.message.contains("spec.limits.fuel"),
            "{}",
            ran.ending.message
        );
        assert!(
            (49_000_000..=51_000_000).contains(&ran.usage.fuel),
            "{}",
            ran.usage.fuel
        );
    }
}

#[tokio::test]
async fn a_trap_after_refused_memory_is_a_memory_limit() {
    let body = "(if (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)) (then unreachable))";
    let ran = Guest::body(body).run().await;
    assert_eq!(ran.ending.reason, EndReason::MemoryLimit);
    for part in ["1048576", "65536", "spec.limits.memory", "unreachable"] {
        assert!(
            ran.ending.message.contains(part),
            "{} lacks {part}",
            ran.ending.message
        );
    }
}

#[tokio::test]
async fn an_exit_code_after_refused_memory_says_so() {
    let body = "(drop (memory.grow (i32.const 1000))) (call $proc_exit (i32.const 2))";
    let ran = Guest::body(body).run().await;
    assert_eq!(
        (ran.ending.reason, ran.ending.exit_code),
        (EndReason::Error, Some(2))
    );
    assert!(
        ran.ending.message.contains("spec.limits.memory"),
        "{}",
        ran.ending.message
    );
}

#[tokio::test]
async fn a_program_that_lives_with_refused_memory_is_completed() {
    let ran = Guest::body("(drop (memory.grow (i32.const 1000)))")
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::Completed);
    assert!(
        !ran.ending.message.contains("memory"),
        "{}",
        ran.ending.message
    );
}

#[tokio::test]
async fn a_program_that_starts_above_its_memory_limit_never_runs() {
    let ran = Guest::with("(memory (export \"memory\") 17)", &say("ran"))
        .run()
        .await;
    assert_eq!(ran.ending.reason, EndReason::MemoryLimit);
    assert!(
        ran.ending.message.contains("spec.limits.memory"),
        "{}",
        ran.ending.message
    );
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn a_timeout_ends_a_program_that_spins_and_one_that_sleeps() {
    let sleep = "(drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1)
        (i32.const 512)))";
    let forever = format!("(i64.store (i32.const 24) (i64.const -1)) {sleep}");
    for body in ["(loop $again (br $again))", &forever] {
        let ran = Guest::body(body)
            .limits(|l| l.timeout_ms = Some(150))
            .run()
            .await;
        assert_eq!(ran.ending.reason, EndReason::DeadlineExceeded);
        assert!(
            ran.ending.message.contains("spec.limits.timeout"),
            "{}",
            ran.ending.message
        );
        assert!(
            ran.wall.as_millis() >= 150 && ran.wall.as_secs() < 3,
            "{:?}",
            ran.wall
        );
    }
}

/// An output with a bug.
struct Panics;

impl Output for Panics {
    fn write(&self, _: &[u8]) {
        panic!("a bug of the host, on purpose");
    }
}

#[tokio::test]
async fn l11_a_panic_of_the_host_ends_one_vm_and_is_counted() {
    let before = host_panics_total();
    let neighbour = Guest::body("(loop $again (br $again))").start();
    let ran = Guest::body(&say("x")).stdout(Panics).run().await;
    assert_eq!(
        (ran.ending.reason, ran.ending.exit_code),
        (EndReason::HostError, None)
    );
    assert!(
        !ran.ending.message.contains("on purpose"),
        "{}",
        ran.ending.message
    );
    assert_eq!(host_panics_total(), before + 1);
    neighbour
        .handle
        .stop(EndReason::Stopped, std::time::Duration::ZERO);
    assert_eq!(neighbour.end().await.ending.reason, EndReason::Stopped);
}
