//! Where a guest's output goes, and the limits of one read or write.

use std::sync::Arc;

/// The most bytes that one call writes; a guest that has more calls again.
pub(crate) const MAX_WRITE_BYTES: usize = agentvm_policy::budget::WRITE_BYTES.usize();

/// Takes what a guest writes to stdout or stderr.
pub trait Output: Send + Sync + 'static {
    /// Takes `bytes`, at most 64 KiB. Never blocks: it drops what it has no room for, and
    /// counts that by itself.
    fn write(&self, bytes: &[u8]);
}

/// The two outputs of a VM.
#[derive(Clone)]
pub(crate) struct Outputs {
    pub(crate) stdout: Arc<dyn Output>,
    pub(crate) stderr: Arc<dyn Output>,
}
