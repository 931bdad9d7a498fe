//! Follows each cell's list of VMs by long poll, and notices when a cell is gone.

use std::time::Duration;

use agentvm_cell_api::client::{CellClient, ClientError, WardenClient};
use agentvm_cell_api::warden::Cell;

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
                if is_gone(&warden, &cell).await {
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

/// True where the warden knows that this process no longer runs.
async fn is_gone(warden: &WardenClient, cell: &Cell) -> bool {
    let Ok(known) = warden.cells().await else {
        return false;
    };
    !known
        .cells
        .iter()
        .any(|other| other.instance == cell.instance)
}

/// Finds every cell that runs already, and the VMs in them. Tries until it has them all.
pub async fn survey(warden: WardenClient, inputs: Inputs) {
    let mut failures = Backoff::default();
    let found = loop {
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
    let _listener = inputs.send(Input::Notice(Notice::Surveyed)).await;
}

async fn survey_once(warden: &WardenClient) -> Result<Vec<Yield>, ClientError> {
    let mut found = Vec::new();
    for cell in warden.cells().await?.cells {
        let list = CellClient::new(&cell.socket)
            .list_vms(0, Duration::ZERO)
            .await?;
        found.push(Yield::Cell(cell, list));
    }
    Ok(found)
}
