//! Guests that try to evade their limits, run by the real warden in real cells.
//!
//! A program of its own, so that nothing else of these tests runs while it measures.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must fail where it does"
)]

mod crowd;
mod ends;
mod guests;
mod neighbour;
mod probes;
mod proc;
mod spent;
mod storms;

#[expect(dead_code, reason = "the other tests of these processes need more")]
#[path = "../processes/harness.rs"]
mod harness;

use std::fmt::Display;

use tokio::sync::{Mutex, MutexGuard, OnceCell};

/// One test measures at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static MEASURES: Mutex<()> = Mutex::const_new(());
    MEASURES.lock().await
}

/// What is measured once for all tests that look at it, alone, and printed.
async fn measured_once<T, F>(table: &'static OnceCell<T>, measure: impl Fn() -> F) -> &'static T
where
    T: Display,
    F: Future<Output = T>,
{
    table
        .get_or_init(|| async {
            let _alone = alone().await;
            let table = measure().await;
            eprintln!("{table}");
            table
        })
        .await
}

/// Whether the long forms are wanted.
fn is_soak() -> bool {
    std::env::var_os("AGENTVM_SOAK").is_some()
}
