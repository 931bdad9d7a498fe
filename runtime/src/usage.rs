//! What a VM uses, counted while it runs and readable at any time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A snapshot of what one run has used so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time of a processor.
    pub cpu: Duration,
    /// Time for which it was held back because its CPU quota was used up.
    pub throttled: Duration,
    /// Units of fuel, host calls included.
    pub fuel: u64,
    /// Bytes of linear memory and tables held now; 0 after the end.
    pub memory_bytes: u64,
    /// The most bytes it ever held.
    pub memory_peak_bytes: u64,
    /// Calls of closed interfaces by interface: a closed set of names, zeros left out.
    pub denials: BTreeMap<&'static str, u64>,
}

/// An interface that is linked and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    Filesystem,
    Sockets,
    Process,
}

impl Closed {
    const ALL: [Self; 3] = [Self::Filesystem, Self::Sockets, Self::Process];

    const fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Sockets => "sockets",
            Self::Process => "process",
        }
    }
}

/// The one account of a VM: everything that is counted or bounded over its whole life.
#[derive(Debug, Default)]
pub(crate) struct Account {
    cpu_ns: AtomicU64,
    throttled_ns: AtomicU64,
    /// Since when the VM waits for its quota, if it does.
    paused_since: Mutex<Option<Instant>>,
    fuel: AtomicU64,
    /// Fuel owed for host calls, not yet taken from the store.
    fuel_owed: AtomicU64,
    in_host_call: AtomicBool,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    memory_refused: AtomicU64,
    filesystem_denials: AtomicU64,
    socket_denials: AtomicU64,
    process_denials: AtomicU64,
}

impl Account {
    pub(crate) fn snapshot(&self) -> Usage {
        let denials = Closed::ALL.map(|closed| (closed.name(), self.denials(closed).load(Relaxed)));
        Usage {
            cpu: Duration::from_nanos(self.cpu_ns.load(Relaxed)),
            throttled: self.throttled(),
            fuel: self.fuel.load(Relaxed),
            memory_bytes: self.memory.load(Relaxed),
            memory_peak_bytes: self.memory_peak.load(Relaxed),
            denials: denials
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }

    pub(crate) fn deny(&self, closed: Closed) {
        self.denials(closed).fetch_add(1, Relaxed);
    }

    fn denials(&self, closed: Closed) -> &AtomicU64 {
        match closed {
            Closed::Filesystem => &self.filesystem_denials,
            Closed::Sockets => &self.socket_denials,
            Closed::Process => &self.process_denials,
        }
    }

    pub(crate) fn add_cpu(&self, used: Duration) {
        self.cpu_ns.fetch_add(nanos(used), Relaxed);
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_ns.load(Relaxed))
    }

    /// The VM waits for its quota from now on.
    pub(crate) fn begin_pause(&self) {
        *self.paused_since() = Some(Instant::now());
    }

    /// The VM does not wait any more, if it did.
    pub(crate) fn end_pause(&self) {
        if let Some(since) = self.paused_since().take() {
            self.throttled_ns.fetch_add(nanos(since.elapsed()), Relaxed);
        }
    }

    fn throttled(&self) -> Duration {
        let now = self
            .paused_since()
            .map(|since| since.elapsed())
            .unwrap_or_default();
        Duration::from_nanos(self.throttled_ns.load(Relaxed)) + now
    }

    fn paused_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.paused_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The exact fuel used, known whenever the guest crosses into the host.
    pub(crate) fn set_fuel(&self, used: u64) {
        self.fuel.store(used, Relaxed);
    }

    /// The guest yielded of itself: it used one more interval since the last crossing.
    pub(crate) fn add_fuel(&self, interval: u64) {
        self.fuel.fetch_add(interval, Relaxed);
    }

    /// Adds to what the guest has to pay for the host call it is in.
    pub(crate) fn owe_fuel(&self, units: u64) {
        self.fuel_owed.fetch_add(units, Relaxed);
    }

    pub(crate) fn take_owed_fuel(&self) -> u64 {
        if self.fuel_owed.load(Relaxed) == 0 {
            return 0;
        }
        self.fuel_owed.swap(0, Relaxed)
    }

    pub(crate) fn set_in_host_call(&self, inside: bool) {
        self.in_host_call.store(inside, Relaxed);
    }

    pub(crate) fn is_in_host_call(&self) -> bool {
        self.in_host_call.load(Relaxed)
    }

    /// Takes `bytes` from what is left under `limit`; false leaves everything as it was.
    pub(crate) fn take_memory(&self, bytes: u64, limit: u64) -> bool {
        let now = self.memory.load(Relaxed);
        match now.checked_add(bytes) {
            Some(after) if after <= limit => {
                self.memory.store(after, Relaxed);
                self.memory_peak.fetch_max(after, Relaxed);
                true
            }
            Some(_) | None => {
                self.memory_refused.fetch_add(1, Relaxed);
                false
            }
        }
    }

    pub(crate) fn give_memory_back(&self, bytes: u64) {
        let now = self.memory.load(Relaxed);
        self.memory.store(now.saturating_sub(bytes), Relaxed);
    }

    /// Everything the VM held is freed.
    pub(crate) fn free_memory(&self) {
        self.memory.store(0, Relaxed);
    }

    pub(crate) fn memory_was_refused(&self) -> bool {
        self.memory_refused.load(Relaxed) > 0
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_taken_up_to_the_limit_and_no_further() {
        let account = Account::default();
        assert!(account.take_memory(60, 100));
        assert!(!account.memory_was_refused());
        assert!(!account.take_memory(41, 100));
        assert!(account.memory_was_refused());
        assert!(account.take_memory(40, 100));
        account.give_memory_back(50);
        let usage = account.snapshot();
        assert_eq!((usage.memory_bytes, usage.memory_peak_bytes), (50, 100));
    }

    #[test]
    fn a_sum_that_overflows_is_refused() {
        let account = Account::default();
        assert!(account.take_memory(1, u64::MAX));
        assert!(!account.take_memory(u64::MAX, u64::MAX));
    }

    #[test]
    fn only_interfaces_that_were_called_are_listed() {
        let account = Account::default();
        account.deny(Closed::Sockets);
        account.deny(Closed::Sockets);
        assert_eq!(account.snapshot().denials, BTreeMap::from([("sockets", 2)]));
    }
}
