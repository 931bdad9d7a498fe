//! The one connection to the gateway: opened at the first need, and anew where it broke.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentvm_cell_api::gateway::code_of_reset;
use agentvm_cell_api::problem::{Problem, Reason};
use agentvm_policy::budget;
use agentvm_policy::egress::Code;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::body::Outgoing;
use crate::cell::link::Link;

/// The shortest time between two attempts, after the first.
const RETRY_SOONEST: Duration = Duration::from_millis(50);

/// The longest one.
const RETRY_LATEST: Duration = budget::CHANNEL_RETRY.duration();

/// How long an attempt may take: the warden waits for the gateway for a part of it.
const OPEN_WITHIN: Duration = budget::CHANNEL_CONNECT.duration().saturating_mul(2);

/// Sends requests over the channel.
pub(super) type Sender = SendRequest<Outgoing>;

/// What an attempt came to.
type Opened = Result<Sender, Code>;

/// Keeps the channel. Cloning it is cheap.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    live: Live,
    need_tx: mpsc::Sender<oneshot::Sender<Opened>>,
}

type Live = Arc<Mutex<Option<Sender>>>;

impl Channel {
    /// Spawns the task that opens it.
    pub(super) fn new(link: Link) -> Self {
        // Who needs it holds a stream's room already.
        let (need_tx, need_rx) = mpsc::channel(budget::CHANNEL_STREAMS.usize());
        let live = Live::default();
        tokio::spawn(keep(link, live.clone(), need_rx));
        Self { live, need_tx }
    }

    /// The connection, which may break at any time.
    ///
    /// # Errors
    ///
    /// Where there is none, and one attempt to open it failed.
    pub(super) async fn sender(&self) -> Result<Sender, Code> {
        if let Some(sender) = usable(&self.live) {
            return Ok(sender);
        }
        let (opened_tx, opened_rx) = oneshot::channel();
        let asked = self.need_tx.send(opened_tx).await;
        asked.map_err(|_cell_ends| Code::Internal)?;
        opened_rx.await.unwrap_or(Err(Code::Internal))
    }
}

/// Opens the channel whenever somebody needs it and it is not there. What an attempt came to, it
/// came to for all that waited for it.
async fn keep(link: Link, live: Live, mut need_rx: mpsc::Receiver<oneshot::Sender<Opened>>) {
    let mut pace = Pace::default();
    while let Some(opened_tx) = need_rx.recv().await {
        let opened = if let Some(sender) = usable(&live) {
            Ok(sender)
        } else {
            tokio::time::sleep_until(pace.attempt(Instant::now())).await;
            open(&link).await
        };
        *lock(&live) = opened.as_ref().ok().cloned();
        let failed = opened.as_ref().err().copied();
        let _given_up = opened_tx.send(opened);
        let Some(code) = failed else { continue };
        while let Ok(opened_tx) = need_rx.try_recv() {
            let _given_up = opened_tx.send(Err(code));
        }
    }
}

/// One attempt.
async fn open(link: &Link) -> Opened {
    let opened = tokio::time::timeout(OPEN_WITHIN, connect(link)).await;
    opened.unwrap_or_else(|_elapsed| {
        tracing::warn!("no channel to the gateway in time");
        Err(Code::Internal)
    })
}

async fn connect(link: &Link) -> Opened {
    let stream = link.gateway().await.map_err(|problem| refused(&problem))?;
    let stream = std::os::unix::net::UnixStream::from(stream);
    let stream = stream
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(stream));
    let stream = stream.map_err(|error| broken(&error))?;
    let (sender, connection) = builder()
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    tokio::spawn(async move {
        let ended = connection.await;
        tracing::info!(?ended, "the channel to the gateway is closed");
    });
    Ok(sender)
}

/// How the cell speaks HTTP/2: streams hold each other up by nothing but their own windows, and
/// one that is given up costs the others nothing.
pub(super) fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(budget::STREAM_BYTES.u32())
        // A whole window in one frame: a quarter of the work for large bodies.
        .max_frame_size(budget::STREAM_BYTES.u32())
        .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
        .initial_max_send_streams(budget::CHANNEL_STREAMS.usize())
        .max_send_buf_size(budget::STREAM_BYTES.usize())
        .max_header_list_size(budget::HEADER_BYTES.u32().saturating_mul(2))
        .max_concurrent_reset_streams(budget::CHANNEL_STREAMS.usize())
        .max_local_error_reset_streams(None)
        .keep_alive_interval(Some(budget::CHANNEL_PING.duration()))
        .keep_alive_timeout(budget::CHANNEL_PING.duration());
    builder
}

/// What a guest is told where the warden has no channel to give.
fn refused(problem: &Problem) -> Code {
    tracing::warn!(%problem, "no channel to the gateway");
    match problem.reason {
        // This node has no gateway: no request will ever get out of it.
        Reason::NotFound => Code::Denied,
        Reason::BadRequest
        | Reason::Conflict
        | Reason::InvalidModule
        | Reason::MissingImports
        | Reason::CompileLimit
        | Reason::InvalidMounts
        | Reason::NoSpace
        | Reason::Exhausted
        | Reason::Internal => Code::Internal,
    }
}

fn broken(error: &dyn std::error::Error) -> Code {
    tracing::warn!(%error, "the channel to the gateway can't be used");
    Code::Internal
}

/// What a guest is told of a request that got no answer, or of an answer that broke off.
///
/// The gateway says why it ends a stream; all else is between the two of us.
pub(super) fn code_of(error: &hyper::Error) -> Code {
    let source = std::error::Error::source(error);
    let reset = source
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .filter(|error| error.is_reset() && error.is_remote())
        .and_then(h2::Error::reason);
    reset
        .and_then(|reason| code_of_reset(reason.into()))
        .unwrap_or(Code::Internal)
}

fn usable(live: &Live) -> Option<Sender> {
    lock(live).clone().filter(|sender| !sender.is_closed())
}

fn lock(live: &Live) -> MutexGuard<'_, Option<Sender>> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When attempts are made.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    last: Option<Instant>,
    apart: Duration,
}

impl Pace {
    /// When the next attempt is made, and notes it. After a while without one it is made at once.
    fn attempt(&mut self, now: Instant) -> Instant {
        let quiet = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) > RETRY_LATEST);
        let at = match self.last {
            Some(last) if !quiet => {
                self.apart = (self.apart * 2).clamp(RETRY_SOONEST, RETRY_LATEST);
                now.max(last + self.apart)
            }
            Some(_) | None => {
                self.apart = Duration::ZERO;
                now
            }
        };
        self.last = Some(at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_come_at_once_then_further_and_further_apart_and_at_once_again() {
        let began = Instant::now();
        let mut pace = Pace::default();
        let mut now = began;
        let mut at = Vec::new();
        for _ in 0..8 {
            now = pace.attempt(now);
            at.push(now.duration_since(began).as_millis());
        }
        assert_eq!(at, [0, 50, 150, 350, 750, 1_550, 2_550, 3_550]);
        let later = now + Duration::from_secs(5);
        assert_eq!(pace.attempt(later), later);
    }
}
