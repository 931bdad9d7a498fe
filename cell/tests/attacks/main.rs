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

use tokio::sync::{Mutex, MutexGuard};

/// One test measures at a time.
async fn alone() -> MutexGuard<'static, ()> {
    static MEASURES: Mutex<()> = Mutex::const_new(());
    MEASURES.lock().await
}

/// Whether the long forms are wanted.
fn is_soak() -> bool {
    std::env::var_os("AGENTVM_SOAK").is_some()
}
