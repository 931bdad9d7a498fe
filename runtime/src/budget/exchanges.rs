//! Requests in flight: how many a VM has, and how many it may have.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::Notify;

use crate::guards::{Guard, is_on};

/// The requests in flight of one VM, in two counts with one bound: those that the guest holds,
/// which are over as soon as it gives them up, and those that the host holds, whose end takes the
/// host a moment. A new one is refused where the guest holds too many, and waits where only the
/// host still does.
#[derive(Debug)]
pub(crate) struct Exchanges {
    held: AtomicU64,
    carried: AtomicU64,
    most: AtomicU64,
    ended: Notify,
}

impl Exchanges {
    pub(super) fn new(most: u64) -> Self {
        Self {
            held: AtomicU64::new(0),
            carried: AtomicU64::new(0),
            most: AtomicU64::new(most),
            ended: Notify::new(),
        }
    }

    /// Takes the place of one that the guest holds; false where all are taken.
    pub(crate) fn hold(&self) -> bool {
        self.one_more(&self.held)
    }

    pub(crate) fn let_go(&self) {
        one_less(&self.held);
    }

    /// Takes the place of one that the host holds, once one is free.
    pub(crate) async fn carry(&self) {
        loop {
            let ended = self.ended.notified();
            if self.one_more(&self.carried) {
                return;
            }
            ended.await;
        }
    }

    pub(crate) fn put_down(&self) {
        one_less(&self.carried);
        self.ended.notify_one();
    }

    /// Sets how many there may be from now on; those that are over it stay.
    pub(crate) fn set_most(&self, most: u64) {
        self.most.store(most, Relaxed);
        self.ended.notify_waiters();
    }

    fn one_more(&self, count: &AtomicU64) -> bool {
        let most = if is_on(Guard::ExchangeBound) {
            self.most.load(Relaxed)
        } else {
            u64::MAX
        };
        let one_more = |count: u64| count.checked_add(1).filter(|count| *count <= most);
        count.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }
}

fn one_less(count: &AtomicU64) {
    let one_less = |count: u64| Some(count.saturating_sub(1));
    // Never refused: the closure always has an answer.
    let _before = count.fetch_update(Relaxed, Relaxed, one_less);
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_ready(future: std::pin::Pin<&mut impl Future>) -> bool {
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn places_are_taken_up_to_the_bound_which_may_move() {
        let exchanges = Exchanges::new(2);
        assert!(exchanges.hold() && exchanges.hold() && !exchanges.hold());
        exchanges.set_most(1);
        exchanges.let_go();
        assert!(!exchanges.hold());
        exchanges.let_go();
        assert!(exchanges.hold());
    }

    #[test]
    fn what_the_host_still_holds_is_waited_for() {
        let exchanges = Exchanges::new(1);
        assert!(is_ready(pin!(exchanges.carry())));
        let mut next = pin!(exchanges.carry());
        assert!(!is_ready(next.as_mut()));
        exchanges.put_down();
        assert!(is_ready(next));
    }
}
