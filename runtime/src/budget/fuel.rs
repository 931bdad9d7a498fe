//! Fuel: what a guest has used and what it owes for the host's work.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The fuel of one VM, as far as it is known outside of its store.
#[derive(Debug, Default)]
pub(crate) struct Fuel {
    used: AtomicU64,
    /// Owed for host calls, not yet taken from the store.
    owed: AtomicU64,
}

impl Fuel {
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The exact fuel used, known whenever the guest crosses into the host: at the latest when an interval is used up.
    pub(crate) fn set_used(&self, used: u64) {
        self.used.store(used, Relaxed);
    }

    /// Adds to what the guest has to pay for the host call it is in.
    pub(crate) fn owe(&self, units: u64) {
        self.owed.fetch_add(units, Relaxed);
    }

    pub(crate) fn take_owed(&self) -> u64 {
        if self.owed.load(Relaxed) == 0 {
            return 0;
        }
        self.owed.swap(0, Relaxed)
    }
}
