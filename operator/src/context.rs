//! What every reconcile shares.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentvm_crds::agentnode::JailLevel;
use kube::Client;
use tokio::sync::{Notify, mpsc};

use crate::backoff::Retries;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::notice::Notice;
use crate::queue::Queue;
use crate::world::{Cause, Key, Wake, World};

/// How long one request to the API server may take.
const REQUEST: Duration = Duration::from_secs(10);

/// Shared by the tasks of one leadership; a new leadership starts with a new one.
pub struct Context {
    /// Talks to the API server.
    pub client: Client,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The VMs to reconcile.
    pub queue: Queue,
    /// Rings when a Lease was seen or renewed, so that the ticker looks when to wake.
    pub leases_changed: Notify,
    /// Rings when waiting VMs are to be tried again.
    pub room_changed: Notify,
    world: Mutex<World>,
    retries: Mutex<Retries>,
    retry_cause: Mutex<Option<Cause>>,
    reports: Mutex<BTreeMap<Key, Report>>,
    notice_tx: mpsc::Sender<Notice>,
}

/// The UID and generation of which something was reported.
type Report = (Option<String>, Option<i64>);

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("world", &self.world)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context that knows nothing yet.
    pub fn new(
        client: Client,
        metrics: Arc<Metrics>,
        require_jail: JailLevel,
        notice_tx: mpsc::Sender<Notice>,
    ) -> Self {
        Self {
            client,
            metrics,
            queue: Queue::default(),
            leases_changed: Notify::new(),
            room_changed: Notify::new(),
            world: Mutex::new(World::new(require_jail)),
            retries: Mutex::default(),
            retry_cause: Mutex::default(),
            reports: Mutex::default(),
            notice_tx,
        }
    }

    /// The world, locked. Never held across an await.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The failures in a row, locked.
    pub fn retries(&self) -> MutexGuard<'_, Retries> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what an event asks for.
    pub fn wake(&self, wake: Wake) {
        let Wake { keys, waiting } = wake;
        if !keys.is_empty() {
            self.queue.push(keys);
        }
        if waiting.is_some() {
            let mut cause = self
                .retry_cause
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            *cause = (*cause).max(waiting);
            drop(cause);
            self.room_changed.notify_one();
        }
    }

    /// Why waiting VMs are to be tried again, if they are; asked by the task that does it.
    pub fn take_retry_cause(&self) -> Option<Cause> {
        self.retry_cause
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Hands a notice to the writer of events.
    pub fn tell(&self, notice: Notice) {
        if self.notice_tx.try_send(notice).is_err() {
            self.metrics.events_lost.inc();
        }
    }

    /// Waits for the API server, but not forever.
    ///
    /// # Errors
    /// Its answer, or that there was none in time.
    pub async fn deadline<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(REQUEST, request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::Deadline(REQUEST)),
        }
    }

    /// Whether this state of an object was not reported yet; it counts as reported from now on.
    pub fn first_report(&self, key: &Key, uid: Option<&str>, generation: Option<i64>) -> bool {
        let report = (uid.map(str::to_owned), generation);
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.insert(key.clone(), report.clone()) != Some(report)
    }

    /// Drops what is remembered of a VM that is gone.
    pub fn forget(&self, key: &Key) {
        self.retries().succeeded(key);
        self.forget_report(key);
    }

    /// Takes [`Context::first_report`] back.
    pub fn forget_report(&self, key: &Key) {
        self.reports
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}
