//! How many requests may be in flight: of one VM so many as its limit says, and never more than
//! others leave room for.
//!
//! The channel carries a bounded number of streams. A VM may have no more of them than are still
//! free, so that however many VMs hold all they can, one that asks for a single one finds it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::guards::{Guard, is_on};

/// The most streams of a channel.
const MAX_STREAMS: u64 = agentvm_policy::budget::CHANNEL_STREAMS.value;

/// The streams of a cell's channel.
#[derive(Debug, Default)]
pub(super) struct Room {
    taken: Mutex<u64>,
    freed: Notify,
}

/// One VM's part of them.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    /// Changed under the lock of the room alone.
    mine: AtomicU64,
    most: AtomicU64,
    freed: Notify,
}

/// What one request in flight takes, for as long as this lives.
#[derive(Debug)]
pub(super) struct Slot(Arc<Share>);

/// What there is too little of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    Vm,
    Channel,
}

impl Share {
    pub(super) fn new(room: &Arc<Room>, most: u64) -> Arc<Self> {
        Arc::new(Self {
            room: room.clone(),
            mine: AtomicU64::new(0),
            most: AtomicU64::new(most),
            freed: Notify::new(),
        })
    }

    /// Allows `most` from now on. Those that are over it go on.
    pub(super) fn set_most(&self, most: u64) {
        self.most.store(most, Relaxed);
        self.freed.notify_waiters();
    }

    /// Waits for room and takes it.
    pub(super) async fn take(self: &Arc<Self>) -> Slot {
        loop {
            // Before it is looked: what is freed meanwhile wakes them.
            let (mine, all) = (self.freed.notified(), self.room.freed.notified());
            tokio::pin!(mine, all);
            mine.as_mut().enable();
            match self.try_take() {
                Ok(slot) => return slot,
                Err(Full::Vm) => mine.await,
                Err(Full::Channel) => {
                    all.as_mut().enable();
                    if let Ok(slot) = self.try_take() {
                        return slot;
                    }
                    tokio::select! {
                        () = mine => {}
                        () = all => {}
                    }
                }
            }
        }
    }

    fn try_take(self: &Arc<Self>) -> Result<Slot, Full> {
        let mut taken = self.room.taken();
        fits(self.mine.load(Relaxed), self.most.load(Relaxed), *taken)?;
        *taken += 1;
        self.mine.fetch_add(1, Relaxed);
        Ok(Slot(self.clone()))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Self(share) = self;
        let mut taken = share.room.taken();
        *taken = taken.saturating_sub(1);
        share.mine.fetch_sub(1, Relaxed);
        drop(taken);
        share.freed.notify_one();
        share.room.freed.notify_waiters();
    }
}

impl Room {
    fn taken(&self) -> MutexGuard<'_, u64> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one more fits beside `mine` of the VM and `taken` of all.
fn fits(mine: u64, most: u64, taken: u64) -> Result<(), Full> {
    let left = MAX_STREAMS.saturating_sub(taken);
    let share = if is_on(Guard::ChannelRoom) {
        left
    } else {
        MAX_STREAMS
    };
    if mine >= most {
        Err(Full::Vm)
    } else if mine >= share || left == 0 {
        Err(Full::Channel)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guards::switch_off;

    /// Requests that a VM has at once beside `hoarders` others that hold all they get.
    fn room_beside(hoarders: u64) -> usize {
        let room = Arc::default();
        let most = MAX_STREAMS / 64;
        let hoarders: Vec<_> = (0..hoarders).map(|_| Share::new(&room, most)).collect();
        let mut held = Vec::new();
        loop {
            let before = held.len();
            held.extend(hoarders.iter().filter_map(|share| share.try_take().ok()));
            if held.len() == before {
                break;
            }
        }
        let mine = Share::new(&room, most);
        let taken: Vec<_> = std::iter::from_fn(|| mine.try_take().ok()).collect();
        taken.len()
    }

    #[test]
    fn f_many_vms_that_hold_all_they_can_leave_room_for_another() {
        assert_eq!(room_beside(0), usize::try_from(MAX_STREAMS / 64).unwrap());
        for many in [64, 100, 400] {
            assert!(room_beside(many) >= 1, "{many}");
        }
        assert_eq!(switch_off(Guard::ChannelRoom, || room_beside(100)), 0);
    }

    #[test]
    fn a_vm_has_as_many_as_its_limit_says_and_what_ends_makes_room() {
        let share = Share::new(&Arc::default(), 2);
        let first = share.try_take().unwrap();
        let _second = share.try_take().unwrap();
        assert_eq!(share.try_take().unwrap_err(), Full::Vm);
        drop(first);
        assert!(share.try_take().is_ok());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_an_end_and_by_a_higher_limit() {
        let share = Share::new(&Arc::default(), 1);
        let first = share.take().await;
        let waiting = {
            let share = share.clone();
            tokio::spawn(async move { share.take().await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        let within = Duration::from_secs(10);
        let second = tokio::time::timeout(within, waiting)
            .await
            .unwrap()
            .unwrap();
        let waiting = {
            let share = share.clone();
            tokio::spawn(async move { share.take().await })
        };
        tokio::task::yield_now().await;
        share.set_most(2);
        let _third = tokio::time::timeout(within, waiting)
            .await
            .unwrap()
            .unwrap();
        drop(second);
    }
}
