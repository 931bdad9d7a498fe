//! The waker that a guest is polled with: it tells a guest that only gave way from one that waits.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Remembers a wake that comes during a poll, and passes on any other at once.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    polling: AtomicBool,
    woken: AtomicBool,
    /// Whoever polls from outside.
    outer: Mutex<Option<Waker>>,
}

impl Recall {
    /// Polls begin on behalf of `outer`.
    pub(crate) fn begin(&self, outer: &Waker) {
        let mut known = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(outer),
            None => *known = Some(outer.clone()),
        }
        drop(known);
        self.polling.store(true, SeqCst);
    }

    /// Whether what was polled is to be polled again; asked once, it is forgotten.
    pub(crate) fn take(&self) -> bool {
        self.woken.swap(false, SeqCst)
    }

    /// Polls end: a wake that nobody has taken is passed on.
    pub(crate) fn end(&self) {
        self.polling.store(false, SeqCst);
        self.pass_on();
    }

    fn pass_on(&self) {
        if self.take() {
            let outer = self.outer.lock().unwrap_or_else(PoisonError::into_inner);
            let outer = outer.clone();
            if let Some(outer) = outer {
                outer.wake();
            }
        }
    }
}

impl Wake for Recall {
    fn wake(self: Arc<Self>) {
        Self::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        if !self.polling.load(SeqCst) {
            self.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_is_taken_once_or_passed_on_once() {
        let outer = Arc::new(Recall::default()); // counts as well as anything else
        let recall = Arc::new(Recall::default());
        let waker = Waker::from(Arc::clone(&recall));
        outer.begin(Waker::noop());
        recall.begin(&Waker::from(Arc::clone(&outer)));
        assert!(!recall.take());
        waker.wake_by_ref();
        assert!(recall.take() && !recall.take());
        recall.end();
        assert!(!outer.take());
        recall.begin(&Waker::from(Arc::clone(&outer)));
        waker.wake_by_ref();
        recall.end();
        assert!(outer.take());
        waker.wake();
        assert!(outer.take() && !recall.take());
    }
}
