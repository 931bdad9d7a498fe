//! The routes of archives: bytes in, bytes out, each bounded and never as a whole in one piece.

use std::io::{self, Write};
use std::sync::Arc;

use agentvm_cell_api::problem::Reason;
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::pack::{Pack, PackError};
use crate::cell::mounts::now;
use crate::cell::routes::{Cell, bad_request, checked, no_such_vm};
use crate::refusal::Refusal;

/// Bytes that are sent at once, and pieces that wait to be sent.
const PIECE_BYTES: usize = agentvm_policy::budget::ARCHIVE_PIECE_BYTES.usize();
const PIECES: usize = agentvm_policy::budget::ARCHIVE_PIECES.usize();

/// `PUT /v1/archives/{name}`.
pub(in crate::cell) async fn put_archive(
    State(cell): State<Arc<Cell>>,
    Path(name): Path<String>,
    body: Body,
) -> Result<StatusCode, Refusal> {
    cell.archives.begin(&name)?;
    let mut pieces = body.into_data_stream();
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => cell.archives.add(&name, piece)?,
            Err(error) => {
                cell.archives.forget(&name);
                return Err(bad_request(format!("the archive did not arrive: {error}")));
            }
        }
    }
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::cell) struct ArchiveQuery {
    path: String,
}

/// `GET /v1/vms/{uid}/archive?path=P`.
pub(in crate::cell) async fn get_archive(
    State(cell): State<Arc<Cell>>,
    Path(uid): Path<String>,
    query: Result<Query<ArchiveQuery>, QueryRejection>,
) -> Result<Response, Refusal> {
    let ArchiveQuery { path } = checked(query)?;
    let kept = cell.vms.kept_files(&uid).ok_or_else(|| no_such_vm(&uid))?;
    let (filesystem, most) = kept.map_err(Refusal::from)?;
    let pack = Pack::new(filesystem, &path, now());
    let checking = tokio::task::spawn_blocking(move || pack.check(most).map(|()| pack));
    let pack = checking
        .await
        .map_err(|error| Refusal::new(Reason::Internal, error.to_string()))?
        .map_err(|error| refused(&error))?;
    let (piece_tx, piece_rx) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || send(&pack, &piece_tx));
    let pieces = futures::stream::unfold(piece_rx, |mut piece_rx| async move {
        piece_rx.recv().await.map(|piece| (piece, piece_rx))
    });
    let body = Body::from_stream(pieces);
    Ok(([(header::CONTENT_TYPE, "application/x-tar")], body).into_response())
}

fn refused(error: &PackError) -> Refusal {
    let reason = match error {
        PackError::Refused { .. } => Reason::NotFound,
        PackError::Name(_) | PackError::TooLarge { .. } | PackError::TooManyNames { .. } => {
            Reason::NoSpace
        }
        PackError::Write(_) | PackError::Finish(_) => Reason::Internal,
    };
    Refusal::new(reason, error.to_string())
}

/// Writes the archive into the answer. Where that fails, the answer is cut: its asker notices.
fn send(pack: &Pack, piece_tx: &mpsc::Sender<io::Result<Bytes>>) {
    let pieces = Pieces {
        piece_tx: piece_tx.clone(),
        piece: Vec::with_capacity(PIECE_BYTES),
    };
    let written = pack.write(pieces);
    let sent = written
        .map_err(io::Error::other)
        .and_then(|mut pieces| pieces.flush());
    if let Err(error) = sent {
        tracing::warn!(%error, "an archive was not sent");
        let _asker_is_gone = piece_tx.blocking_send(Err(error));
    }
}

/// Makes pieces of what is written.
struct Pieces {
    piece_tx: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE_BYTES));
        self.piece_tx
            .blocking_send(Ok(piece.into()))
            .map_err(|_gone| io::Error::other("the asker is gone"))
    }
}
