//! Instructions on much memory: no step is long, whatever is asked for.

use std::future::poll_fn;
use std::pin::pin;

use agentvm_policy::EndReason;

use crate::components::component;
use crate::cpu::store;
use crate::harness::{Guest, say};

/// More than anything fills in a turn.
pub(crate) const MUCH: u64 = 64 << 20;

/// The most fuel that `guest` uses from one moment at which it can be stopped to the next, and so
/// how much it works on.
pub(crate) fn longest_step(guest: Guest) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (vm, handle, _) = guest.limits(|l| l.memory_bytes = 1 << 30).prepare();
    let mut run = pin!(vm.run());
    let (mut most, mut before) = (0, 0);
    let ending = runtime.block_on(poll_fn(|cx| {
        let polled = run.as_mut().poll(cx);
        let used = handle.usage().fuel;
        most = most.max(used - before);
        before = used;
        polled
    }));
    assert_eq!(ending.reason, EndReason::Completed, "{}", ending.message);
    most
}

/// A guest with two memories of 160 MiB in all, that does `step` once.
pub(crate) fn once(step: &str) -> Guest {
    let memories = "(memory (export \"memory\") 2048) (memory $other 512)";
    Guest::with(memories, &format!("(local $n i32) {step}"))
}

pub(crate) const STEPS: [&str; 3] = [
    "(memory.fill (i32.const 0) (i32.const 1) (i32.const 134217728))",
    "(memory.copy (i32.const 1) (i32.const 0) (i32.const 134217727))",
    "(memory.copy (i32.const 0) (i32.const 65536) (i32.const 134152192))",
];

/// The same in a component, in a component that stands in another one.
pub(crate) fn nested() -> Guest {
    let inner = component("", &[], &format!("{} (i32.const 0)", STEPS[0]));
    let inner = inner
        .replacen("(component", "(component $inner", 1)
        .replacen("\"memory\") 1)", "\"memory\") 2048)", 1);
    Guest::wat(&format!(
        "(component {inner}
           (instance $i (instantiate $inner))
           (alias export $i \"wasi:cli/run@0.2.3\" (instance $run))
           (export \"wasi:cli/run@0.2.3\" (instance $run)))"
    ))
}

#[test]
fn c04_no_instruction_is_a_long_step() {
    for step in STEPS {
        let most = longest_step(once(step));
        assert!(most < MUCH, "{step}: {most}");
    }
}

#[test]
fn c04_no_instruction_of_a_component_is_a_long_step() {
    assert!(longest_step(nested()) < MUCH);
}

/// More fuel than a VM with a tenth of a core and a GiB uses before it can be stopped.
pub(crate) const INTERVALS: u64 = 500_000;

/// Stores into a page for each ten units of fuel, in half of its GiB.
pub(crate) fn stores_into_pages() -> Guest {
    let memory = "(memory (export \"memory\") 16384)";
    let body = format!("(local $at i32) {}", store(131_072));
    Guest::with(memory, &body).limits(|l| l.cpu_millicores = 100)
}

#[test]
fn c04_who_could_store_into_much_memory_at_a_low_rate_gives_way_sooner() {
    assert!(longest_step(stores_into_pages()) < INTERVALS);
}

#[tokio::test]
async fn a_trap_names_the_function_that_asked_for_too_much() {
    let fields = "(func $greedy (param i32)
        (memory.fill (i32.const 1) (i32.const 7) (local.get 0)))";
    for bytes in [65_536, 10 << 20, -1] {
        let body = format!("{} (call $greedy (i32.const {bytes}))", say("still"));
        let ran = Guest::with(fields, &body).run().await;
        assert_eq!(ran.ending.reason, EndReason::Trap);
        let message = ran.ending.message;
        let expected = "out of bounds memory access in greedy < main";
        assert!(message.contains(expected), "{message}");
    }
}
