//! The channels of cells: each begins with a line that says whose it is.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use agentvm_cell_api::gateway::Channel;
use agentvm_policy::budget;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::namespaces::Namespaces;
use crate::serve::{Service, serve};
use crate::sockets::OwnUser;

/// Why a connection became no channel.
#[derive(Debug, thiserror::Error)]
enum NoChannel {
    #[error("it said nothing in time")]
    Silent,
    #[error("it broke off")]
    BrokenOff(#[source] std::io::Error),
    #[error("its first line is longer than {} bytes", budget::CHANNEL_LINE_BYTES.value)]
    TooLong,
    #[error("its first line is none of ours")]
    Unreadable(#[source] serde_json::Error),
    #[error("it is for no namespace")]
    Namespace,
}

/// The channels that are open.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    by_namespace: Mutex<BTreeMap<String, Vec<AbortHandle>>>,
    open: AtomicU32,
}

impl Channels {
    /// How many there are.
    pub(crate) fn count(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    /// Keeps a channel to close it where its namespace opens more than it may: a cell that was
    /// taken over can ask for one after the other.
    fn keep(&self, namespace: &str, channel: AbortHandle) {
        let most = budget::CHANNELS_PER_NAMESPACE.usize();
        let mut all = self
            .by_namespace
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, channels| {
            channels.retain(|channel| !channel.is_finished());
            !channels.is_empty()
        });
        let channels = all.entry(namespace.to_owned()).or_default();
        channels.push(channel);
        if channels.len() > most {
            channels.remove(0).abort();
        }
    }
}

/// Counts a channel as open until it is dropped.
struct Open(Arc<Channels>);

impl Open {
    fn new(channels: &Arc<Channels>) -> Self {
        channels.open.fetch_add(1, Ordering::Relaxed);
        Self(channels.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves every channel that is opened on `listener`. Never ends.
pub(crate) async fn accept(
    listener: OwnUser,
    channels: Arc<Channels>,
    namespaces: Arc<Namespaces>,
    service: Service,
    tasks: TaskTracker,
) {
    loop {
        let stream = listener.next().await;
        let (channels, namespaces, service) =
            (channels.clone(), namespaces.clone(), service.clone());
        tasks.spawn(begin(stream, channels, namespaces, service, tasks.clone()));
    }
}

async fn begin(
    mut stream: UnixStream,
    channels: Arc<Channels>,
    namespaces: Arc<Namespaces>,
    service: Service,
    tasks: TaskTracker,
) {
    let namespace = match first_line(&mut stream).await {
        Ok(Channel { namespace }) => namespace,
        Err(error) => {
            tracing::warn!(%error, "a connection is no channel");
            return;
        }
    };
    let vms = namespaces.of(&namespace);
    let open = Open::new(&channels);
    let serving = tasks.spawn(async move {
        let _open = open;
        if let Err(error) = serve(service, vms, stream).await {
            tracing::debug!(%error, "a channel broke");
        }
    });
    channels.keep(&namespace, serving.abort_handle());
}

/// Reads the first line and not a byte of what follows it, which is the cell's.
async fn first_line(stream: &mut UnixStream) -> Result<Channel, NoChannel> {
    let line = tokio::time::timeout(budget::CHANNEL_LINE_WITHIN.duration(), line(stream));
    let line = line.await.map_err(|_elapsed| NoChannel::Silent)??;
    let channel: Channel = serde_json::from_slice(&line).map_err(NoChannel::Unreadable)?;
    if channel.namespace.is_empty() {
        return Err(NoChannel::Namespace);
    }
    Ok(channel)
}

async fn line(stream: &mut UnixStream) -> Result<Vec<u8>, NoChannel> {
    let mut line = Vec::new();
    loop {
        let byte = stream.read_u8().await.map_err(NoChannel::BrokenOff)?;
        if byte == b'\n' {
            return Ok(line);
        }
        if line.len() >= budget::CHANNEL_LINE_BYTES.usize() {
            return Err(NoChannel::TooLong);
        }
        line.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn said(bytes: &[u8]) -> (Result<Channel, NoChannel>, UnixStream) {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        ours.write_all(bytes).await.unwrap();
        ours.shutdown().await.unwrap();
        let channel = first_line(&mut theirs).await;
        (channel, theirs)
    }

    #[tokio::test]
    async fn a_channel_begins_with_one_line_and_the_rest_is_the_cells() {
        let (channel, mut rest) = said(b"{\"namespace\":\"heron\"}\nPRI * ").await;
        assert_eq!(channel.unwrap().namespace, "heron");
        let mut read = Vec::new();
        rest.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"PRI * ");
    }

    #[tokio::test]
    async fn a_connection_that_says_something_else_is_no_channel() {
        let long = [b' '; 600];
        for bytes in [
            &b""[..],
            b"{\"namespace\":\"heron\"}",
            b"{\"namespace\":\"\"}\n",
            b"{\"namespace\":\"heron\",\"vm\":\"u\"}\n",
            b"GET / HTTP/1.1\r\n",
            &long,
        ] {
            let (channel, _rest) = said(bytes).await;
            assert!(channel.is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
