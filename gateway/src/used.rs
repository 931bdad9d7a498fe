//! What one VM has used of the network.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agentvm_cell_api::gateway::Usage;
use agentvm_policy::egress::Code;

use crate::outcome::Outcome;

/// Counts of one VM, which only grow.
#[derive(Debug, Default)]
pub(crate) struct Used {
    answered: AtomicU64,
    refused: Mutex<BTreeMap<Code, u64>>,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
    throttled_ns: AtomicU64,
}

impl Used {
    /// Counts bytes that are sent; false where they would be more than `most` in all.
    pub(crate) fn send(&self, bytes: u64, most: u64) -> bool {
        let more = |sent: u64| sent.checked_add(bytes).filter(|sent| *sent <= most);
        self.sent_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub(crate) fn receive(&self, bytes: u64) {
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn throttle(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.throttled_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// Counts a request that has ended: by its status, or else by its code.
    pub(crate) fn end(&self, outcome: &Outcome) {
        match (&outcome.status, &outcome.refusal) {
            (Some(_), _) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            (None, Some(refusal)) => {
                let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
                *refused.entry(refusal.code()).or_default() += 1;
            }
            (None, None) => {}
        }
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// The counts, as the agent gets them.
    pub(crate) fn usage(&self, in_flight: u64) -> Usage {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        Usage {
            answered: self.answered.load(Ordering::Relaxed),
            refused: refused
                .iter()
                .map(|(code, count)| (code.as_str().to_owned(), *count))
                .collect(),
            in_flight,
            sent_bytes: self.sent_bytes(),
            received_bytes: self.received_bytes.load(Ordering::Relaxed),
            throttled_ns: self.throttled_ns.load(Ordering::Relaxed),
        }
    }
}
