//! Memory: what the host holds because of a guest, whatever for, against one limit in bytes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The memory of one VM.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    held: AtomicU64,
    peak: AtomicU64,
    refused: AtomicU64,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Takes `bytes` from what is left; false leaves everything as it was.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let within = |held: u64| held.checked_add(bytes).filter(|after| *after <= self.limit);
        let Ok(before) = self.held.fetch_update(Relaxed, Relaxed, within) else {
            self.refused.fetch_add(1, Relaxed);
            return false;
        };
        self.peak.fetch_max(before.saturating_add(bytes), Relaxed);
        true
    }

    pub(crate) fn give_back(&self, bytes: u64) {
        let less = |held: u64| Some(held.saturating_sub(bytes));
        // Never refused: the closure always has an answer.
        let _before = self.held.fetch_update(Relaxed, Relaxed, less);
    }

    /// Everything the VM held is freed.
    pub(crate) fn free(&self) {
        self.held.store(0, Relaxed);
    }

    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Relaxed) > 0
    }

    pub(super) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    pub(super) fn peak(&self) -> u64 {
        self.peak.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_up_to_the_limit_and_no_further() {
        let memory = Memory::new(100);
        assert!(memory.take(60));
        assert!(!memory.was_refused());
        assert!(!memory.take(41));
        assert!(memory.was_refused());
        assert!(memory.take(40));
        memory.give_back(50);
        assert_eq!((memory.held(), memory.peak()), (50, 100));
    }

    #[test]
    fn a_sum_that_overflows_is_refused() {
        let memory = Memory::new(u64::MAX);
        assert!(memory.take(1));
        assert!(!memory.take(u64::MAX));
    }
}
