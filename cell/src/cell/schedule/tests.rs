//! The executor with real threads, and the order by itself.

mod first;
mod order;
mod shares;
mod tasks;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::yield_now;

use super::order::Order;
use super::queue::Queue;
use super::task::Task;
use super::*;
use crate::guards::{Guard, switch_off};

/// How long a thing that has no bound of its own may take.
const WITHIN: Duration = Duration::from_secs(20);

/// Uses `cpu` of this thread without letting go of it.
fn burn(cpu: Duration) {
    let end = thread_cpu() + cpu;
    while thread_cpu() < end {}
}

const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}

/// One who has an account and is charged for nothing.
impl<F: Fn() -> Account + Send + Sync> Payer for F {
    fn account(&self) -> Account {
        self()
    }

    fn charge(&self, _used: Duration) {}
}

/// One who is charged here.
#[derive(Clone, Default)]
struct Charged(Arc<Mutex<Duration>>);

impl Payer for Charged {
    fn account(&self) -> Account {
        Account {
            charged: *self.0.lock().unwrap(),
            ..core()
        }
    }

    fn charge(&self, used: Duration) {
        *self.0.lock().unwrap() += used;
    }
}

/// Promised a whole core.
const fn core() -> Account {
    promised(1_000)
}

const fn promised(millicores: u64) -> Account {
    Account {
        millicores,
        charged: Duration::ZERO,
    }
}

#[track_caller]
fn wait<T>(running: Running<T>) -> Result<T, Lost> {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(WITHIN, running).await.unwrap() })
}

/// A task that uses `poll` in each of its polls until `all` is over; yields what it has used.
fn busy(guests: &Spawner, poll: Duration, all: Instant) -> Running<Duration> {
    guests.spawn(core, async move {
        let mut used = Duration::ZERO;
        while Instant::now() < all {
            burn(poll);
            used += poll;
            yield_now().await;
        }
        used
    })
}

#[track_caller]
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + WITHIN;
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}
