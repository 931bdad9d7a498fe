//! Requests in flight: how many a VM has, and how many it may have.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::guards::{Guard, is_on};

/// The requests in flight of one VM.
#[derive(Debug)]
pub(crate) struct Exchanges {
    open: AtomicU64,
    most: AtomicU64,
}

impl Exchanges {
    pub(super) fn new(most: u64) -> Self {
        Self {
            open: AtomicU64::new(0),
            most: AtomicU64::new(most),
        }
    }

    /// Takes the place of one; false where all are taken.
    pub(crate) fn take(&self) -> bool {
        let most = if is_on(Guard::ExchangeBound) {
            self.most.load(Relaxed)
        } else {
            u64::MAX
        };
        let one_more = |open: u64| open.checked_add(1).filter(|open| *open <= most);
        self.open.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    pub(crate) fn give_back(&self) {
        let one_less = |open: u64| Some(open.saturating_sub(1));
        // Never refused: the closure always has an answer.
        let _before = self.open.fetch_update(Relaxed, Relaxed, one_less);
    }

    /// Sets how many there may be from now on; those that are over it stay.
    pub(crate) fn set_most(&self, most: u64) {
        self.most.store(most, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_taken_up_to_the_bound_which_may_move() {
        let exchanges = Exchanges::new(2);
        assert!(exchanges.take() && exchanges.take() && !exchanges.take());
        exchanges.set_most(1);
        exchanges.give_back();
        assert!(!exchanges.take());
        exchanges.give_back();
        assert!(exchanges.take());
    }
}
