//! Memory: what the host holds because of a guest, whatever for, against one limit in bytes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::guards::{Guard, is_on};

/// What the host holds for any VM without counting it.
const FREE_BYTES: u64 = agentvm_policy::budget::HOST_BYTES.value;

/// The memory of one VM.
///
/// What the guest holds itself, memories and tables, counts from the first byte; what the host
/// holds for it counts from [`FREE_BYTES`] on, so that the smallest limit is one that a guest
/// can have for itself.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    /// Everything that counts.
    held: AtomicU64,
    /// What the host holds, whether it counts or not.
    host: AtomicU64,
    /// What of that is held until the present call of a component returns.
    lent: AtomicU64,
    peak: AtomicU64,
    refused: AtomicU64,
}

impl Memory {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            held: AtomicU64::new(0),
            host: AtomicU64::new(0),
            lent: AtomicU64::new(0),
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

    /// Takes `bytes` that the host holds for the guest; false leaves everything as it was.
    pub(crate) fn take_host(&self, bytes: u64) -> bool {
        if !is_on(Guard::HostMemoryCharge) {
            return true;
        }
        let before = self.host.fetch_add(bytes, Relaxed);
        let counts = counting(before.saturating_add(bytes)) - counting(before);
        let taken = counts == 0 || self.take(counts);
        if !taken {
            self.host.fetch_sub(bytes, Relaxed);
        }
        taken
    }

    /// Gives back what [`Self::take_host`] has taken.
    pub(crate) fn give_host_back(&self, bytes: u64) {
        let less = |host: u64| Some(host.saturating_sub(bytes));
        let (Ok(before) | Err(before)) = self.host.fetch_update(Relaxed, Relaxed, less);
        let counted = counting(before) - counting(before.saturating_sub(bytes));
        if counted > 0 {
            self.give_back(counted);
        }
    }

    /// As [`Self::take_host`], until what is returned is dropped.
    pub(crate) fn hold(&self, bytes: u64) -> Option<Held<'_>> {
        self.take_host(bytes).then(|| Held {
            memory: self,
            bytes,
        })
    }

    /// As [`Self::take_host`], until the present call of a component returns.
    pub(crate) fn lend(&self, bytes: u64) -> bool {
        let lent = self.take_host(bytes);
        if lent {
            self.lent.fetch_add(bytes, Relaxed);
        }
        lent
    }

    /// The present call returns.
    pub(crate) fn take_lent_back(&self) {
        if self.lent.load(Relaxed) > 0 {
            self.give_host_back(self.lent.swap(0, Relaxed));
        }
    }

    /// Everything the VM held is freed.
    pub(crate) fn free(&self) {
        self.held.store(0, Relaxed);
        self.host.store(0, Relaxed);
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

/// What of `host` bytes counts.
fn counting(host: u64) -> u64 {
    host.saturating_sub(FREE_BYTES)
}

/// Memory of the host that is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    memory: &'a Memory,
    bytes: u64,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.memory.give_host_back(self.bytes);
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

    #[test]
    fn what_the_host_holds_counts_beyond_what_is_free() {
        let memory = Memory::new(1_000);
        assert!(memory.take_host(FREE_BYTES));
        assert_eq!(memory.held(), 0);
        assert!(memory.take_host(600));
        assert!(!memory.take_host(401));
        assert_eq!(memory.held(), 600);
        memory.give_host_back(601);
        assert_eq!(memory.held(), 0);
        assert!(memory.take_host(1_001));
        assert_eq!(memory.held(), 1_000);
    }

    #[test]
    fn what_is_held_or_lent_is_given_back_once() {
        let memory = Memory::new(1_000);
        assert!(memory.take_host(FREE_BYTES));
        let held = memory.hold(300);
        assert!(held.is_some() && memory.lend(500) && memory.lend(100));
        assert!(memory.hold(101).is_none());
        assert_eq!((memory.held(), memory.peak()), (900, 900));
        drop(held);
        memory.take_lent_back();
        memory.take_lent_back();
        assert_eq!(memory.held(), 0);
    }
}
