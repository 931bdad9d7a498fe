//! Follows each cell's list of VMs by long poll, and notices when a cell is gone.

use std::time::Duration;

use agentvm_cell_api::client::{CellClient, ClientError, WardenClient};
use agentvm_cell_api::warden::{Cell, Cells, EndedCell};

use crate::agent::{Input, Inputs};
use crate::backoff::{Backoff, CALL};
use crate::execute::Yield;
use crate::observed::Notice;

/// How long a cell may hold a poll open.
const POLL: Duration = Duration::from_secs(25);

/// Follows one cell until it is gone or nobody listens.
pub async fn follow(warden: WardenClient, cell: Cell, mut since: u64, inputs: Inputs) {
    let client = CellClient::new(&cell.socket);
    let mut failures = Backoff::default();
    loop {
        match client.list_vms(since, POLL).await {
            Ok(list) => {
                failures = Backoff::default();
                since = list.version;
                let notice = Notice::CellChanged {
                    namespace: cell.namespace.clone(),
                    instance: cell.instance.clone(),
                    vms: list.vms,
                };
                if inputs.send(Input::Notice(notice)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                if let Look::Gone(ended) = look(&warden, &cell).await {
                    tracing::warn!(namespace = %cell.namespace, instance = %cell.instance, "cell is gone");
                    let Cell {
                        namespace,
                        instance,
                        ..
                    } = cell;
                    let _listener = inputs
                        .send(Input::Notice(Notice::CellGone {
                            namespace,
                            instance,
                            ended,
                        }))
                        .await;
                    return;
                }
                tracing::debug!(namespace = %cell.namespace, %error, "cell does not answer");
                failures = failures.failed();
                tokio::time::sleep(failures.delay(CALL)).await;
            }
        }
    }
}

/// What the warden says of a cell that does not answer.
enum Look {
    /// Its process runs, or the warden does not answer either.
    There,
    /// It no longer runs.
    Gone(Option<EndedCell>),
}

async fn look(warden: &WardenClient, cell: &Cell) -> Look {
    let Ok(Cells { cells, ended }) = warden.cells().await else {
        return Look::There;
    };
    if cells.iter().any(|other| other.instance == cell.instance) {
        return Look::There;
    }
    let ended = ended
        .into_iter()
        .find(|ended| ended.instance == cell.instance);
    Look::Gone(ended)
}

/// Finds every cell that runs already, and the VMs in them. Tries until it has them all.
pub async fn survey(warden: WardenClient, inputs: Inputs) {
    let mut failures = Backoff::default();
    let (found, ended) = loop {
        match survey_once(&warden).await {
            Ok(found) => break found,
            Err(error) => {
                tracing::warn!(%error, "warden or cell does not answer");
                failures = failures.failed();
                tokio::time::sleep(failures.delay(CALL)).await;
            }
        }
    };
    for cell in found {
        if inputs.send(Input::Yield(Box::new(cell))).await.is_err() {
            return;
        }
    }
    let _listener = inputs.send(Input::Notice(Notice::Surveyed { ended })).await;
}

async fn survey_once(warden: &WardenClient) -> Result<(Vec<Yield>, Vec<EndedCell>), ClientError> {
    let mut found = Vec::new();
    let Cells { cells, ended } = warden.cells().await?;
    for cell in cells {
        let list = CellClient::new(&cell.socket)
            .list_vms(0, Duration::ZERO)
            .await?;
        found.push(Yield::Cell(cell, list));
    }
    Ok((found, ended))
}
