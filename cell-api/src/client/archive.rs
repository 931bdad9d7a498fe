//! Archives on their way into a cell and out of it, in pieces.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use http::Method;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::wire::{self, Answer};
use super::{CellClient, ClientError};

/// How long an archive may take: its asker may read it from a slow disk.
const ARCHIVE_WITHIN: Duration = Duration::from_mins(10);

impl CellClient {
    /// `PUT /v1/archives/{name}`: a tar archive that waits for the start of the VM that names it.
    pub async fn put_archive(
        &self,
        name: &str,
        pieces: impl Stream<Item = std::io::Result<Bytes>> + Send + Sync + 'static,
    ) -> Result<(), ClientError> {
        let path = format!("/v1/archives/{name}");
        let body = StreamBody::new(pieces.map_ok(Frame::data));
        let request = wire::exchange(&self.socket, Method::PUT, &path, body, |response| {
            Answer::of(&self.socket, response)
        });
        wire::within(&self.socket, ARCHIVE_WITHIN, request)
            .await?
            .bytes()
            .map(drop)
    }

    /// `GET /v1/vms/{uid}/archive?path=P`: what a VM that has ended left at `path`, as a tar
    /// archive of at most `max_bytes`, written to `out`.
    pub async fn archive(
        &self,
        uid: &str,
        path: &str,
        max_bytes: u64,
        out: &mut (impl AsyncWrite + Unpin + Send),
    ) -> Result<(), ClientError> {
        let target = format!("/v1/vms/{uid}/archive?path={}", encoded(path));
        let request = wire::exchange(
            &self.socket,
            Method::GET,
            &target,
            wire::no_body(),
            |response| async move {
                if !response.status().is_success() {
                    let answer = Answer::of(&self.socket, response).await?;
                    return answer.bytes().map(drop);
                }
                self.copy(response.into_body(), max_bytes, out).await
            },
        );
        wire::within(&self.socket, ARCHIVE_WITHIN, request).await
    }

    async fn copy(
        &self,
        mut body: hyper::body::Incoming,
        max_bytes: u64,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), ClientError> {
        let protocol = |cause: String| ClientError::Protocol {
            socket: self.socket.clone(),
            cause,
        };
        let mut left = max_bytes;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| wire::unreachable(&self.socket, &error))?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            left = left
                .checked_sub(bytes)
                .ok_or_else(|| protocol(format!("the archive is larger than {max_bytes} bytes")))?;
            let written = out.write_all(&piece).await;
            written.map_err(|error| protocol(format!("the archive can't be written: {error}")))?;
        }
        let flushed = out.flush().await;
        flushed.map_err(|error| protocol(format!("the archive can't be written: {error}")))
    }
}

/// A path as it stands in a query.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a String can't fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn a_path_is_encoded_for_a_query() {
        assert_eq!(encoded("/work/out-1.2_~"), "/work/out-1.2_~");
        assert_eq!(encoded("/a b&c=ä?%+"), "/a%20b%26c%3D%C3%A4%3F%25%2B");
    }
}
