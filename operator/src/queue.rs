//! The VMs to reconcile, each at most once, in the order in which they were asked for.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use futures::Stream;
use tokio::sync::Notify;

use crate::world::Key;

/// Bounded by the number of VMs, since each is in it once.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    order: VecDeque<Key>,
    members: BTreeSet<Key>,
}

impl Queue {
    /// Adds what is not in it yet.
    pub fn push(&self, keys: impl IntoIterator<Item = Key>) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys {
            if inner.members.insert(key.clone()) {
                inner.order.push_back(key);
            }
        }
        drop(inner);
        self.filled.notify_one();
    }

    /// Everything pushed from now on; for one reader.
    pub fn stream(&self) -> impl Stream<Item = Key> + '_ {
        futures::stream::unfold((), move |()| async move { Some((self.next().await, ())) })
    }

    async fn next(&self) -> Key {
        loop {
            if let Some(key) = self.pop() {
                return key;
            }
            self.filled.notified().await;
        }
    }

    fn pop(&self) -> Option<Key> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let key = inner.order.pop_front()?;
        inner.members.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::Queue;
    use crate::world::Key;

    fn key(name: &str) -> Key {
        Key {
            namespace: "lab".into(),
            name: name.into(),
        }
    }

    #[tokio::test]
    async fn a_vm_is_in_it_once_and_may_come_again_after_it_was_taken() {
        let queue = Queue::default();
        queue.push([key("a"), key("b"), key("a")]);
        let taken: Vec<Key> = queue.stream().take(2).collect().await;
        assert_eq!(taken, [key("a"), key("b")]);
        queue.push([key("a")]);
        assert_eq!(queue.stream().take(1).collect::<Vec<_>>().await, [key("a")]);
    }
}
