//! Tells the warden what the VMs that live may hold of the node's memory: under pressure it ends
//! the cell that is most over what its VMs were promised.

use std::time::Duration;

use super::link::Link;
use super::vms::{Table, Vms};
use crate::control::FromCell;

/// How long starts and ends are gathered, so that many cost one message.
const GATHER: Duration = Duration::from_millis(200);

/// Tells each change. Never ends: a cell that has lost the channel ends for that.
pub(super) async fn tell(vms: &Vms, link: &Link) {
    let mut told = 0;
    loop {
        vms.wait_until(|table| table.promised_bytes() != told).await;
        tokio::time::sleep(GATHER).await;
        told = vms.with(Table::promised_bytes);
        if let Err(error) = link.send(&FromCell::Promised { bytes: told }).await {
            tracing::error!(%error, "the warden can't be told what VMs were promised");
            return std::future::pending().await;
        }
    }
}
