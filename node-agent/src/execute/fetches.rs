//! Whose module is fetched and compiled now: one of the places is always left for a namespace that
//! has none.
//!
//! The warden is fair between namespaces only among the modules that reach it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::guards::{Guard, is_on};

/// The places.
#[derive(Debug)]
pub(super) struct Fetches {
    all: Arc<Semaphore>,
    at_once: usize,
    /// Those of each namespace that has or waits for some.
    each: Mutex<BTreeMap<String, Arc<Semaphore>>>,
}

/// A place, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _of_namespace: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Fetches {
    /// So many places.
    pub(super) fn new(at_once: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(at_once)),
            at_once,
            each: Mutex::default(),
        }
    }

    /// Waits for a place. The namespace's own comes first: who waits for it holds none of all.
    pub(super) async fn place(&self, namespace: &str) -> Result<Place, AcquireError> {
        let own = self.own(namespace);
        Ok(Place {
            _of_namespace: own.acquire_owned().await?,
            _of_all: self.all.clone().acquire_owned().await?,
        })
    }

    fn own(&self, namespace: &str) -> Arc<Semaphore> {
        let mut each = self.lock();
        // Every permit, and whoever waits for one, holds its semaphore.
        each.retain(|_, own| Arc::strong_count(own) > 1);
        let own = each
            .entry(namespace.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(self.most_each())));
        own.clone()
    }

    fn most_each(&self) -> usize {
        if is_on(Guard::FetchLeft) {
            self.at_once.saturating_sub(1).max(1)
        } else {
            self.at_once
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Semaphore>>> {
        self.each.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::guards::switch_off;

    /// Whether a namespace has a place at once while another has taken all that it can.
    fn neighbour_has_a_place() -> bool {
        let fetches = Fetches::new(3);
        let place = |namespace| fetches.place(namespace).now_or_never();
        let _hostile: Vec<_> = (0..20).filter_map(|_| place("hostile")).collect();
        place("neighbour").is_some()
    }

    #[test]
    fn e02_a_namespace_that_fetches_without_end_leaves_a_place() {
        assert!(neighbour_has_a_place());
    }

    #[test]
    fn e02_mutant_without_a_place_left_the_neighbour_waits() {
        assert!(!switch_off(Guard::FetchLeft, neighbour_has_a_place));
    }

    #[test]
    fn places_come_back_and_namespaces_are_forgotten() {
        let fetches = Fetches::new(1);
        let place = |namespace| fetches.place(namespace).now_or_never();
        let held = place("heron");
        assert!(place("egret").is_none());
        drop(held);
        assert!(place("egret").is_some());
        let _held = place("plover");
        assert_eq!(fetches.lock().len(), 1);
    }
}
