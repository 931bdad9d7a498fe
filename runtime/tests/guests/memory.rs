//! What the host holds for a guest counts against the guest's memory limit.

use agentvm_policy::EndReason;

use crate::components::component;
use crate::files::descriptors::opens_files_until_refused;
use crate::files::script::work;
use crate::harness::{Guest, Ran, say};

const NOMEM: i32 = 48;
/// What the host holds before it counts.
const FREE: u64 = 64 << 10;
const PAGE: u64 = 64 << 10;

/// Opens files until it is refused; its memory has two pages.
pub(crate) fn opens_files_with_memory(memory_bytes: u64) -> Guest {
    opens_files_until_refused().guest(&work()).limits(|limits| {
        limits.memory_bytes = memory_bytes;
        limits.open_files = 1_024;
    })
}

#[tokio::test]
async fn d04_open_files_count_once_the_host_holds_more_than_is_free() {
    for more in [0, 512 * 100] {
        let guest = opens_files_with_memory(2 * PAGE + more);
        let instance = guest.instance_bytes();
        let ran = guest.run().await;
        // 512 bytes each: what its instance leaves of the free ones, and the next one is refused.
        let opened = (FREE - instance + more) / 512;
        let code = i32::try_from(opened + 1).unwrap() << 8 | NOMEM;
        assert_eq!(ran.ending.exit_code, Some(code));
        let counted = (instance + 512 * opened).saturating_sub(FREE);
        assert_eq!(ran.usage.memory_peak_bytes, 2 * PAGE + counted);
    }
}

/// A guest with a page of memory and `bytes` in its environment.
pub(crate) fn with_environment(bytes: usize, memory_bytes: u64) -> Guest {
    Guest::body(&say("ran"))
        .env("LONG", &"x".repeat(bytes))
        .limits(|limits| limits.memory_bytes = memory_bytes)
}

#[tokio::test]
async fn arguments_and_environment_count() {
    let guest = with_environment(200_000, 1 << 20);
    // Its instance, its name, its value, and 64 bytes for each of them.
    let counted = guest.instance_bytes() + 200_000 + 4 + 2 * 64;
    let ran = guest.run().await;
    assert_eq!(ran.ending.reason, EndReason::Completed);
    assert_eq!(ran.usage.memory_peak_bytes, PAGE + counted - FREE);
    let ran = with_environment(60_000, PAGE).run().await;
    assert_eq!(ran.usage.memory_peak_bytes, PAGE);
}

#[tokio::test]
async fn d04_a_program_whose_environment_is_more_than_its_memory_is_told_so_and_never_runs() {
    let ran = with_environment(200_000, 100_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::MemoryLimit);
    for part in [
        "environment take 200132 bytes",
        "100000",
        "spec.limits.memory",
    ] {
        assert!(ran.ending.message.contains(part), "{}", ran.ending.message);
    }
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn memory_that_is_left_beside_the_environment_is_all_that_grows() {
    let body = "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
        (call $proc_exit (memory.size))";
    let guest = Guest::body(body).env("LONG", &"x".repeat(3 * 65_536));
    // 16 pages less the 128 KiB and a little of its environment that count.
    assert_eq!(guest.exit_code().await, 13);
}

/// Polls `count` times the clock at once, with a limit of two pages beside its memory of two.
pub(crate) fn polls(count: u32) -> Guest {
    let body = format!(
        "(call $proc_exit (call $poll_oneoff
            (i32.const 0) (i32.const 65536) (i32.const {count}) (i32.const 65532)))"
    );
    Guest::with("(memory (export \"memory\") 2)", &body)
        .limits(|limits| limits.memory_bytes = 2 * PAGE)
}

#[tokio::test]
async fn d04_what_a_poll_holds_counts_while_it_lasts() {
    // 256 bytes each: what its instance leaves of those that are free.
    let most = u32::try_from((FREE - polls(1).instance_bytes()) / 256).unwrap();
    assert_eq!(polls(most).exit_code().await, 0);
    assert_eq!(polls(most + 1).exit_code().await, NOMEM);
}

/// A component that makes handles of a resource of its own.
pub(crate) fn makes_handles(count: u32) -> Guest {
    let body = format!(
        "(local $i i32)
         (loop $again
           (drop (call $new (local.get $i)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const {count}))))
         (i32.const 0)"
    );
    let new = ("new", "(canon resource.new $r)", "(param i32) (result i32)");
    Guest::wat(&component("(type $r (resource (rep i32)))", &[new], &body))
}

#[tokio::test]
async fn d04_handles_of_a_components_own_are_bounded() {
    assert_eq!(makes_handles(4_096).exit_code().await, 0);
    let ran: Ran = makes_handles(4_097).run().await;
    assert_eq!(ran.ending.reason, EndReason::Trap, "{}", ran.ending.message);
}

#[tokio::test]
async fn a_component_that_asks_for_its_environment_has_the_memory_for_a_copy() {
    let wit = "(import \"wasi:cli/environment@0.2.0\" (instance $environment
        (export \"get-environment\" (func (result (list (tuple string string)))))))";
    let get = (
        "get",
        "(canon lower (func $environment \"get-environment\") (memory $memory) (realloc $realloc))",
        "(param i32)",
    );
    let text = component(wit, &[get], "(call $get (i32.const 16)) (i32.const 0)");
    let guest = |memory_bytes| {
        Guest::wat(&text)
            .env("LONG", &"x".repeat(40_000))
            .limits(|limits| limits.memory_bytes = memory_bytes)
    };
    // 40 KB that it starts with, as much for the copy; 64 KiB of both are free.
    let ran = guest(PAGE + 20_000).run().await;
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
    assert!(ran.usage.memory_peak_bytes > PAGE + 14_000);
    let ran = guest(PAGE + 10_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::MemoryLimit);
}
