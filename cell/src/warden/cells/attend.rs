//! One cell's attendant: gives it the descriptors it asks for, and sees its end.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_cell_api::warden::ModuleKind;
use tokio::process::Child;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::Order;
use crate::control::{Answer, Channel, FromCell, Outcome, Request, ToCell};
use crate::warden::digest::Digest;
use crate::warden::gateway::{self, GatewayError};
use crate::warden::modules::{Modules, internal};

/// Requests of one cell that are worked on at once.
const MAX_AT_ONCE: usize = agentvm_policy::budget::CELL_REQUESTS.usize();

/// How long a cell's channel may be full.
const HEARD_WITHIN: Duration = Duration::from_secs(2);

/// Where what a cell may ask for comes from.
#[derive(Clone, Debug)]
pub(super) struct Stock {
    /// The namespace whose cell it is.
    pub(super) namespace: Arc<str>,
    pub(super) modules: Arc<Modules>,
    pub(super) log_dir: Arc<Path>,
    pub(super) gateway_dir: Option<Arc<Path>>,
}

/// Attends a cell until its process is reaped; returns how it ended.
pub(super) async fn attend(
    mut child: Child,
    channel: Arc<Channel>,
    mut order_rx: mpsc::Receiver<Order>,
    mut growth_refused_rx: watch::Receiver<bool>,
    promised: Arc<AtomicU64>,
    stock: Stock,
) -> String {
    let permits = Arc::new(Semaphore::new(MAX_AT_ONCE));
    let mut answers = JoinSet::new();
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, channel.receive::<FromCell>().await)
        };
        tokio::select! {
            status = child.wait() => {
                return status.map_or_else(|error| error.to_string(), |status| status.to_string());
            }
            Some(order) = order_rx.recv() => carry_out(order, &mut child, &channel).await,
            Ok(()) = growth_refused_rx.changed() => {
                let refused = *growth_refused_rx.borrow_and_update();
                tell(&ToCell::Growth { refused }, &mut child, &channel).await;
            }
            Some(_answered) = answers.join_next() => {}
            (permit, message) = next => match message {
                Ok(Some((FromCell::Request { id, request }, _))) => {
                    let (channel, stock) = (channel.clone(), stock.clone());
                    answers.spawn(async move {
                        answer(&channel, &stock, id, request).await;
                        drop(permit);
                    });
                }
                Ok(Some((FromCell::Promised { bytes }, _))) => promised.store(bytes, Ordering::Relaxed),
                Ok(Some((FromCell::Ready | FromCell::Failed { .. }, _))) => {}
                // A cell without its channel is of no use, and will never get another.
                Ok(None) | Err(_) => {
                    let _already_gone = child.start_kill();
                    let status = child.wait().await;
                    return status.map_or_else(|error| error.to_string(), |status| status.to_string());
                }
            },
        }
    }
}

async fn carry_out(order: Order, child: &mut Child, channel: &Channel) {
    match order {
        Order::Stop(grace) => {
            let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            tell(&ToCell::Stop { grace_ms }, child, channel).await;
        }
        Order::Kill => {
            let _already_gone = child.start_kill();
        }
    }
}

/// Tells a cell something. One that does not listen is ended: it must not keep its attendant from
/// the next order.
async fn tell(message: &ToCell, child: &mut Child, channel: &Channel) {
    let sent = tokio::time::timeout(HEARD_WITHIN, channel.send(message, &[])).await;
    if !matches!(sent, Ok(Ok(()))) {
        let _already_gone = child.start_kill();
    }
}

async fn answer(channel: &Channel, stock: &Stock, id: u64, request: Request) {
    let sent = match request {
        Request::Code { sha256 } => match code(&stock.modules, &sha256).await {
            Ok((kind, code)) => {
                let outcome = Outcome::Code { kind };
                channel
                    .send(&ToCell::Answer(Answer { id, outcome }), &[code.as_fd()])
                    .await
            }
            Err(problem) => refuse(channel, id, problem).await,
        },
        Request::LogFile => match nameless_file(&stock.log_dir) {
            Ok(file) => {
                let outcome = Outcome::LogFile;
                channel
                    .send(&ToCell::Answer(Answer { id, outcome }), &[file.as_fd()])
                    .await
            }
            Err(error) => {
                let directory = stock.log_dir.display();
                let message = format!("no log file can be made in {directory}: {error}");
                refuse(channel, id, internal(message)).await
            }
        },
        Request::Gateway => {
            let directory = stock.gateway_dir.as_deref();
            match gateway::connect(directory, &stock.namespace).await {
                Ok(stream) => {
                    let outcome = Outcome::Gateway;
                    channel
                        .send(&ToCell::Answer(Answer { id, outcome }), &[stream.as_fd()])
                        .await
                }
                Err(error) => refuse(channel, id, no_channel(&error)).await,
            }
        }
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "a cell's request was not answered");
    }
}

async fn refuse(
    channel: &Channel,
    id: u64,
    problem: Problem,
) -> Result<(), crate::control::ControlError> {
    let outcome = Outcome::Refused(problem);
    channel
        .send(&ToCell::Answer(Answer { id, outcome }), &[])
        .await
}

/// What a cell is told that gets no channel.
fn no_channel(error: &GatewayError) -> Problem {
    let reason = match error {
        GatewayError::Absent => Reason::NotFound,
        GatewayError::Unreachable { .. } => Reason::Internal,
    };
    Problem {
        reason,
        message: error.to_string(),
    }
}

async fn code(modules: &Modules, sha256: &str) -> Result<(ModuleKind, File), Problem> {
    let missing = || Problem {
        reason: Reason::NotFound,
        message: "the module is not compiled here: PUT its bytes to the warden first".to_owned(),
    };
    let digest = Digest::parse(sha256).ok_or_else(missing)?;
    let code = modules.code(&digest).await?.ok_or_else(missing)?;
    let file = code
        .sealed
        .reopen()
        .map_err(|error| internal(error.to_string()))?;
    Ok((code.kind, file))
}

/// A file in `directory` that has no name: it is gone with the last descriptor, whoever dies.
fn nameless_file(directory: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    let nameless = options
        .clone()
        .custom_flags(libc::O_TMPFILE)
        .open(directory);
    match nameless {
        Ok(file) => Ok(file),
        // Not every filesystem has them: make a name and remove it at once.
        Err(_unsupported) => {
            let path = directory.join(super::random_id().map_err(io::Error::other)?);
            let file = options.create_new(true).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_log_file_has_no_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = nameless_file(directory.path()).unwrap();
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
