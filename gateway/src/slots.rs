//! Requests in flight: so many at a time, whatever the number becomes meanwhile.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one VM.
#[derive(Debug)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    size: Mutex<Size>,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Size {
    all: usize,
    /// Slots that are taken, and go when they are given back.
    surplus: usize,
}

/// One request that may be in flight.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    slots: Arc<Slots>,
}

impl Slots {
    pub(crate) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(all)),
            size: Mutex::new(Size { all, surplus: 0 }),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Makes it `all` from now on; those above that end as they would have.
    pub(crate) fn resize(&self, all: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let (more, fewer) = (all.saturating_sub(size.all), size.all.saturating_sub(all));
        size.all = all;
        let stays = more.min(size.surplus);
        size.surplus -= stays;
        self.free.add_permits(more - stays);
        size.surplus += fewer - self.free.forget_permits(fewer);
    }

    /// Takes a slot, when there is one.
    ///
    /// # Errors
    ///
    /// [`Code::ConnectionLimit`] where too many wait already.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Slot, Code> {
        let slot = |permit| Slot {
            permit: Some(permit),
            slots: self.clone(),
        };
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Ok(slot(permit));
        }
        let waiting = Waiting::new(&self.waiting)?;
        let permit = self.free.clone().acquire_owned().await;
        drop(waiting);
        permit
            .map(slot)
            .map_err(|_never_closed| Code::ConnectionLimit)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut size = self
            .slots
            .size
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if size.surplus > 0
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            size.surplus -= 1;
        }
    }
}

/// One that waits, counted for as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Result<Self, Code> {
        let waiting = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= budget::REQUESTS_WAITING.usize() {
            return Err(Code::ConnectionLimit);
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn taken(slots: &Arc<Slots>) -> Option<Slot> {
        match now(slots.take()) {
            Poll::Ready(slot) => slot.ok(),
            Poll::Pending => None,
        }
    }

    #[test]
    fn there_are_as_many_as_were_set_last_once_those_above_have_ended() {
        let slots = Slots::new(3);
        let mut held: Vec<Slot> = (0..3).filter_map(|_| taken(&slots)).collect();
        assert_eq!((held.len(), taken(&slots).is_some()), (3, false));
        slots.resize(1);
        held.pop();
        held.pop();
        assert!(taken(&slots).is_none());
        held.pop();
        let one = taken(&slots);
        assert!(one.is_some() && taken(&slots).is_none());
        slots.resize(0);
        slots.resize(2);
        let two = taken(&slots);
        assert!(two.is_some() && taken(&slots).is_none());
        drop(one);
        assert!(taken(&slots).is_some());
    }

    #[test]
    fn so_many_wait_and_the_next_one_is_refused() {
        let slots = Slots::new(0);
        let mut waiting: Vec<_> = (0..budget::REQUESTS_WAITING.usize())
            .map(|_| Box::pin(slots.take()))
            .collect();
        for one in &mut waiting {
            assert!(now(one.as_mut()).is_pending());
        }
        assert!(matches!(
            now(slots.take()),
            Poll::Ready(Err(Code::ConnectionLimit))
        ));
        drop(waiting);
        assert!(now(slots.take()).is_pending());
    }
}
