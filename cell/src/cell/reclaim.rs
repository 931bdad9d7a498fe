//! Gives memory back to the system after VMs have ended.
//!
//! The allocator keeps what is freed for itself. A namespace whose VMs held large files for a
//! moment would hold the node's memory for good.

use std::sync::Arc;
use std::time::Duration;

use agentvm_runtime::vfs::Filesystem;
use tokio::sync::Notify;

/// Files that held this many bytes are worth a pass over the heap of their own.
const LARGE_BYTES: u64 = 1 << 20;

/// How long the memory of large files may wait, so that many ends cost one pass.
const SOON: Duration = Duration::from_secs(1);

/// How long any other memory may wait.
const LATER: Duration = Duration::from_secs(10);

/// Where what ended is dropped.
#[derive(Clone, Debug, Default)]
pub(super) struct Reclaim {
    freed: Arc<Freed>,
}

#[derive(Debug, Default)]
struct Freed {
    much: Notify,
    something: Notify,
}

impl Reclaim {
    /// Frees the files of a VM that has ended, and has the memory given back. Large ones are
    /// freed on a thread where that may take its time.
    pub(super) fn free(&self, files: Option<Filesystem>) {
        let large = files.filter(|files| files.usage().peak_bytes >= LARGE_BYTES);
        let Some(large) = large else {
            self.freed.something.notify_one();
            return;
        };
        let freed = Arc::clone(&self.freed);
        tokio::task::spawn_blocking(move || {
            drop(large);
            freed.much.notify_one();
        });
    }

    /// Gives back what was freed, once in a while. Never ends.
    pub(super) async fn run(&self) {
        loop {
            let Freed { much, something } = &*self.freed;
            tokio::select! {
                () = much.notified() => {}
                () = something.notified() => {
                    let _much_or_late = tokio::time::timeout(LATER, much.notified()).await;
                }
            }
            tokio::time::sleep(SOON).await;
            let released = tokio::task::spawn_blocking(agentvm_runtime::release_free_memory);
            if let Err(error) = released.await {
                tracing::warn!(%error, "memory was not given back");
            }
        }
    }
}
