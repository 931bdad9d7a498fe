//! Every handle that a component holds counts of its memory, from the call that makes it to the one
//! that drops it, and so does every instance.

use agentvm_policy::EndReason;
use agentvm_policy::budget::HANDLE_BYTES;

use crate::components::{BLOCK, CLOCK, SUBSCRIBE, component};
use crate::harness::{Guest, Ran};
use crate::modules::of_instances;

const PAGE: u64 = 64 << 10;

const OUTPUT: &str = "(import \"wasi:io/streams@0.2.0\" (instance $streams
      (export \"output-stream\" (type (sub resource)))))
    (alias export $streams \"output-stream\" (type $stream))
    (import \"wasi:cli/stdout@0.2.0\" (instance $stdout
      (alias outer 1 $stream (type $s))
      (export \"output-stream\" (type $t (eq $s)))
      (export \"get-stdout\" (func (result (own $t))))))";
const STDOUT: (&str, &str, &str) = (
    "stdout",
    "(canon lower (func $stdout \"get-stdout\"))",
    "(result i32)",
);
const TIMER: &str = "(call $subscribe (i64.const 1000000000000000))";

/// What makes a handle: a name, instructions that leave it, and some that drop the one on the stack.
pub(crate) const MAKERS: [(&str, &str, &str); 2] = [
    ("timer", TIMER, "(call $drop_timer)"),
    ("stdout", "(call $stdout)", "(call $drop_stream)"),
];

/// A component that runs `body` with what makes handles, and then `last`.
fn holder(body: &str, last: &str) -> Guest {
    let lowered = [
        SUBSCRIBE,
        BLOCK,
        STDOUT,
        (
            "drop_timer",
            "(canon resource.drop $pollable)",
            "(param i32)",
        ),
        (
            "drop_stream",
            "(canon resource.drop $stream)",
            "(param i32)",
        ),
    ];
    let body = format!("(local $left i32) {body} {last} (i32.const 0)");
    Guest::wat(&component(&format!("{CLOCK}{OUTPUT}"), &lowered, &body))
}

fn times(count: u64, body: &str) -> String {
    if count == 0 {
        return String::new();
    }
    format!(
        "(local.set $left (i32.const {count}))
         (loop $more {body}
           (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))"
    )
}

/// Keeps `count` handles that `make` makes, and then waits, or ends.
pub(crate) fn hoards(make: &str, count: u64, waits: bool) -> Guest {
    let last = if waits {
        format!("(call $block {TIMER})")
    } else {
        String::new()
    };
    holder(&times(count, &format!("(drop {make})")), &last)
}

#[track_caller]
fn assert_memory_limit(ran: &Ran) {
    assert_eq!(ran.ending.reason, EndReason::MemoryLimit, "{ran:?}");
    let message = &ran.ending.message;
    assert!(message.contains("spec.limits.memory"), "{message}");
}

#[tokio::test]
async fn d04_streams_and_timers_of_a_component_are_its_memory() {
    for (name, make, _) in MAKERS {
        let guest = |count| {
            let guest = hoards(make, count, false);
            // As much as 200 handles beside what is free.
            guest.limits(|limits| limits.memory_bytes = PAGE + 200 * HANDLE_BYTES.value)
        };
        let most = (PAGE - guest(0).instance_bytes()) / HANDLE_BYTES.value + 200;
        assert_eq!(guest(most).exit_code().await, 0, "{name}");
        assert_memory_limit(&guest(most + 1).run().await);
    }
}

#[tokio::test]
async fn d04_a_handle_that_is_dropped_counts_no_more() {
    for (name, make, drop) in MAKERS {
        let body = times(2_000, &format!("{make} {drop}"));
        let guest = holder(&body, "").limits(|limits| limits.memory_bytes = PAGE);
        assert_eq!(guest.exit_code().await, 0, "{name}");
    }
}

/// A component with `count` instances of a module that has `elements` in a passive segment.
pub(crate) fn has_passive_elements(count: usize, elements: usize) -> Guest {
    let instances = "(core instance (instantiate $p))".repeat(count);
    let functions = "$f ".repeat(elements);
    let fields = format!("(core module $p (func $f) (elem func {functions})) {instances}");
    Guest::wat(&of_instances(&fields)).limits(|limits| limits.memory_bytes = 2 << 20)
}

#[tokio::test]
async fn d03_what_the_host_holds_of_instances_is_their_memory() {
    // 16 bytes for each element and instance: 1.6 MB and 3.2 MB.
    assert_eq!(has_passive_elements(50, 2_000).exit_code().await, 0);
    let ran = has_passive_elements(50, 4_000).run().await;
    assert_memory_limit(&ran);
    assert!(
        ran.ending.message.contains("its instances take 3"),
        "{ran:?}"
    );
    assert_eq!(ran.usage.fuel, 0);
}

#[tokio::test]
async fn d03_passive_elements_of_a_core_module_are_its_memory() {
    let guest = |elements| {
        let segment = format!("(func $f) (elem func {})", "$f ".repeat(elements));
        Guest::with(&segment, "").limits(|limits| limits.memory_bytes = 1 << 20)
    };
    assert_eq!(guest(50_000).exit_code().await, 0);
    assert_memory_limit(&guest(70_000).run().await);
}
