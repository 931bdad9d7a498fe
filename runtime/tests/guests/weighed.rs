//! What the host allocates for a guest, weighed: no more than counts of the guest's memory.
#![expect(
    unsafe_code,
    reason = "whoever counts allocations stands in front of the allocator"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use agentvm_policy::budget::HANDLE_BYTES;

use crate::handles::{MAKERS, hoards};
use crate::harness::Guest;
use crate::modules::of_instances;

thread_local! {
    /// Bytes that this thread has allocated and not freed.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

/// The system's allocator, counted by thread.
struct Counted;

#[global_allocator]
static COUNTED: Counted = Counted;

fn count(bytes: usize, sign: i64) {
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    // A thread that ends allocates no more that is looked at.
    let _gone = HELD.try_with(|held| held.set(held.get() + sign * bytes));
}

// SAFETY: all is left to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: by the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(at, layout) }
    }
}

/// What this thread holds more while `guest` waits than before it began.
fn weight(guest: Guest) -> i64 {
    let before = HELD.get();
    let (vm, handle, kept) = guest.prepare();
    let mut run = pin!(vm.run());
    let context = &mut Context::from_waker(Waker::noop());
    // Far more turns than it takes to come to its wait, or to its end.
    for _ in 0..20 {
        if run.as_mut().poll(context).is_ready() {
            break;
        }
    }
    let held = HELD.get() - before;
    drop((handle, kept));
    held
}

#[tokio::test]
async fn d04_a_handle_counts_at_least_what_the_host_holds_of_it() {
    for (name, make, _) in MAKERS {
        let [few, many] = [10, 400].map(|count| weight(hoards(make, count, true)));
        let each = (many - few) / 390;
        let counted = i64::try_from(HANDLE_BYTES.value).unwrap();
        assert!(each > 32, "{name}: {each}");
        assert!(each <= counted, "{name}: {each} of {counted}");
    }
}

/// What more counts and is held of `large` than of `small`, which both wait.
fn more(small: impl Fn() -> Guest, large: impl Fn() -> Guest) -> (i64, i64) {
    let counts = |guest: Guest| i64::try_from(guest.instance_bytes()).unwrap();
    let counted = counts(large()) - counts(small());
    let _warm = weight(small());
    (counted, weight(large()) - weight(small()))
}

#[tokio::test]
async fn d03_an_instance_counts_at_least_what_the_host_holds_of_it() {
    // These wait in the start of their last module.
    let of = |fields: &str| {
        let waits = "(core module $w (func $s (loop $l (br $l))) (start $s))
            (core instance (instantiate $w))";
        Guest::wat(&of_instances(&format!("{fields}{waits}")))
    };
    let empty = "(core instance (instantiate $e))".repeat(50);
    let globals = "(global (mut i64) (i64.const 0))".repeat(1_000);
    let globals = format!(
        "(core module $g {globals}) {}",
        "(core instance (instantiate $g))".repeat(10)
    );
    let elements = format!(
        "(core module $p (func $f) (elem func {})) {}",
        "$f ".repeat(5_000),
        "(core instance (instantiate $p))".repeat(10)
    );
    for fields in [empty, globals, elements] {
        let (counted, held) = more(|| of(""), || of(&fields));
        assert!(
            held > 0 && held <= counted,
            "{held} of {counted}: {fields:.80}"
        );
        assert!(
            counted <= 2 * held + (64 << 10),
            "{held} of {counted}: {fields:.80}"
        );
    }
}
