//! Calls of interfaces that are linked and closed, counted by interface.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An interface that is linked and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    Filesystem,
    /// Requests of a VM that may make none at all.
    Network,
    Sockets,
    Process,
}

impl Closed {
    const ALL: [Self; 4] = [
        Self::Filesystem,
        Self::Network,
        Self::Sockets,
        Self::Process,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Filesystem => "filesystem",
            Self::Network => "network",
            Self::Sockets => "sockets",
            Self::Process => "process",
        }
    }
}

/// The denials of one VM.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    filesystem: AtomicU64,
    network: AtomicU64,
    sockets: AtomicU64,
    process: AtomicU64,
}

impl Denials {
    pub(crate) fn add(&self, closed: Closed) {
        self.of(closed).fetch_add(1, Relaxed);
    }

    /// Only interfaces that were called are listed.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        let counts = Closed::ALL.map(|closed| (closed.name(), self.of(closed).load(Relaxed)));
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn of(&self, closed: Closed) -> &AtomicU64 {
        match closed {
            Closed::Filesystem => &self.filesystem,
            Closed::Network => &self.network,
            Closed::Sockets => &self.sockets,
            Closed::Process => &self.process,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_interfaces_that_were_called_are_listed() {
        let denials = Denials::default();
        denials.add(Closed::Sockets);
        denials.add(Closed::Sockets);
        assert_eq!(denials.counts(), BTreeMap::from([("sockets", 2)]));
    }
}
