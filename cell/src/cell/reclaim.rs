//! Gives memory back to the system after VMs have ended.
//!
//! The allocator keeps what is freed for itself. A namespace whose VMs held large files for a
//! moment would hold the node's memory for good.

use std::sync::Arc;
use std::time::Duration;

use agentvm_runtime::vfs::Filesystem;
use tokio::sync::Notify;

/// How long freed memory may wait, so that many ends cost one pass over the heap.
const COALESCE: Duration = Duration::from_secs(1);

/// Where what ended is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Reclaim {
    freed: Arc<Notify>,
}

impl Reclaim {
    /// Drops the files of a VM that has ended, on a thread where that may take its time, and has
    /// the memory given back.
    pub(super) fn free(&self, filesystem: Option<Filesystem>) {
        let freed = Arc::clone(&self.freed);
        tokio::task::spawn_blocking(move || {
            drop(filesystem);
            freed.notify_one();
        });
    }

    /// Gives back what was freed, once in a while. Never ends.
    pub(super) async fn run(&self) {
        loop {
            self.freed.notified().await;
            tokio::time::sleep(COALESCE).await;
            let released = tokio::task::spawn_blocking(agentvm_runtime::release_free_memory);
            if let Err(error) = released.await {
                tracing::warn!(%error, "memory was not given back");
            }
        }
    }
}
