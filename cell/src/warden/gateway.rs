//! Connects cells to the gateway, which takes the namespace from here and not from the cell.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentvm_cell_api::gateway::{CHANNELS, Channel};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

/// How long the gateway may take to take a connection.
const CONNECT_WITHIN: Duration = agentvm_policy::budget::CHANNEL_CONNECT.duration();

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub(super) enum GatewayError {
    /// There is no gateway on this node.
    #[error("this node has no gateway: the warden has no --gateway-dir")]
    Absent,
    /// It can't be reached now.
    #[error("the gateway can't be reached at {}: {source}; it may be tried again", socket.display())]
    Unreachable {
        /// Where it should listen.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A channel for the cell of `namespace`: the gateway has been told whole whose it is.
pub(super) async fn connect(
    directory: Option<&Path>,
    namespace: &str,
) -> Result<OwnedFd, GatewayError> {
    let socket = directory.ok_or(GatewayError::Absent)?.join(CHANNELS);
    let introduced = tokio::time::timeout(CONNECT_WITHIN, introduce(&socket, namespace));
    introduced
        .await
        .unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| GatewayError::Unreachable { socket, source })
}

async fn introduce(socket: &Path, namespace: &str) -> io::Result<OwnedFd> {
    let mut stream = UnixStream::connect(socket).await?;
    let channel = Channel {
        namespace: namespace.to_owned(),
    };
    let mut line = serde_json::to_vec(&channel)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(stream.into_std()?.into())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[tokio::test]
    async fn the_gateway_is_told_the_namespace_before_the_cell_has_the_channel() {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(CHANNELS)).unwrap();
        let channel = connect(Some(directory.path()), "team-a").await.unwrap();
        let (accepted, _) = listener.accept().unwrap();

        let mut accepted = BufReader::new(accepted);
        let mut line = String::new();
        accepted.read_line(&mut line).unwrap();
        assert_eq!(line, "{\"namespace\":\"team-a\"}\n");
        UnixStream::from(channel).write_all(b"rest").unwrap();
        let mut rest = String::new();
        accepted.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "rest");
    }

    #[tokio::test]
    async fn without_a_gateway_the_reason_is_said() {
        let absent = connect(None, "team-a").await.unwrap_err();
        assert!(matches!(absent, GatewayError::Absent), "{absent}");
        let directory = tempfile::tempdir().unwrap();
        let gone = connect(Some(directory.path()), "team-a").await.unwrap_err();
        assert!(gone.to_string().contains("channels.sock"), "{gone}");
    }
}
