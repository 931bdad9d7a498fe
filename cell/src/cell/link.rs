//! The cell's end of the control channel: asks the warden for descriptors, hears its orders.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::ModuleKind;
use agentvm_runtime::vfs::Growth;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use crate::control::{Answer, Channel, ControlError, FromCell, Outcome, Request, ToCell};

/// Waits for the first message, which brings the listener. `None`: the warden is gone.
pub(super) async fn listener(channel: &Channel) -> Result<Option<OwnedFd>, ControlError> {
    while let Some((message, mut descriptors)) = channel.receive::<ToCell>().await? {
        if let (ToCell::Listen, Some(listener)) = (message, descriptors.pop()) {
            return Ok(Some(listener));
        }
    }
    Ok(None)
}

type Waiting = Mutex<BTreeMap<u64, oneshot::Sender<(Outcome, Vec<OwnedFd>)>>>;

/// Asks the warden. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(super) struct Link {
    channel: Arc<Channel>,
    waiting: Arc<Waiting>,
    next_id: Arc<AtomicU64>,
}

impl Link {
    /// Takes the channel over. The first receiver yields the grace of each order to stop, and
    /// ends when the warden is gone; the second has whether files may grow.
    pub(super) fn new(
        channel: Channel,
    ) -> (Self, mpsc::Receiver<Duration>, watch::Receiver<Growth>) {
        let (order_tx, order_rx) = mpsc::channel(4);
        let (growth_tx, growth_rx) = watch::channel(Growth::Allowed);
        let link = Self {
            channel: Arc::new(channel),
            waiting: Arc::default(),
            next_id: Arc::new(AtomicU64::new(1)),
        };
        tokio::spawn(hear(
            link.channel.clone(),
            link.waiting.clone(),
            order_tx,
            growth_tx,
        ));
        (link, order_rx, growth_rx)
    }

    /// Tells the warden something.
    pub(super) async fn send(&self, message: &impl Serialize) -> Result<(), ControlError> {
        self.channel.send(message, &[]).await
    }

    /// The verified code of a module.
    pub(super) async fn code(&self, sha256: &str) -> Result<(ModuleKind, File), Problem> {
        let request = Request::Code {
            sha256: sha256.to_owned(),
        };
        match self.ask(request).await? {
            (Outcome::Code { kind }, Some(code)) => Ok((kind, code.into())),
            (Outcome::Refused(problem), _) => Err(problem),
            (Outcome::Code { .. } | Outcome::LogFile | Outcome::Gateway, _) => Err(misunderstood()),
        }
    }

    /// A nameless file for one VM's log.
    pub(super) async fn log_file(&self) -> Result<File, Problem> {
        match self.ask(Request::LogFile).await? {
            (Outcome::LogFile, Some(file)) => Ok(file.into()),
            (Outcome::Refused(problem), _) => Err(problem),
            (Outcome::Code { .. } | Outcome::LogFile | Outcome::Gateway, _) => Err(misunderstood()),
        }
    }

    /// A channel to the gateway.
    pub(super) async fn gateway(&self) -> Result<OwnedFd, Problem> {
        match self.ask(Request::Gateway).await? {
            (Outcome::Gateway, Some(channel)) => Ok(channel),
            (Outcome::Refused(problem), _) => Err(problem),
            (Outcome::Code { .. } | Outcome::LogFile | Outcome::Gateway, _) => Err(misunderstood()),
        }
    }

    async fn ask(&self, request: Request) -> Result<(Outcome, Option<OwnedFd>), Problem> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (answer_tx, answer_rx) = oneshot::channel();
        lock(&self.waiting).insert(id, answer_tx);
        if let Err(error) = self.send(&FromCell::Request { id, request }).await {
            lock(&self.waiting).remove(&id);
            return Err(internal(&error.to_string()));
        }
        let (outcome, mut descriptors) = answer_rx
            .await
            .map_err(|_closed| internal("the warden is gone"))?;
        Ok((outcome, descriptors.pop()))
    }
}

async fn hear(
    channel: Arc<Channel>,
    waiting: Arc<Waiting>,
    order_tx: mpsc::Sender<Duration>,
    growth_tx: watch::Sender<Growth>,
) {
    loop {
        match channel.receive::<ToCell>().await {
            Ok(Some((ToCell::Answer(Answer { id, outcome }), descriptors))) => {
                if let Some(answer_tx) = lock(&waiting).remove(&id) {
                    // Who asked may have given up; the descriptors close then.
                    let _unheard = answer_tx.send((outcome, descriptors));
                }
            }
            Ok(Some((ToCell::Stop { grace_ms }, _))) => {
                let _stopping_already = order_tx.try_send(Duration::from_millis(grace_ms));
            }
            Ok(Some((ToCell::Growth { refused }, _))) => {
                growth_tx.send_replace(if refused {
                    Growth::Refused
                } else {
                    Growth::Allowed
                });
            }
            Ok(Some((ToCell::Listen, _))) => {}
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "the control channel broke");
                return;
            }
        }
    }
}

fn misunderstood() -> Problem {
    internal("the warden's answer does not fit the request")
}

fn internal(message: &str) -> Problem {
    Problem {
        reason: Reason::Internal,
        message: message.to_owned(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
