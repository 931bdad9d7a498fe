//! Where a guest's output goes, and the limits of one read or write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most bytes that one call writes; a guest that has more calls again.
pub(crate) const MAX_WRITE_BYTES: usize = agentvm_policy::budget::WRITE_BYTES.usize();

/// Takes what a guest writes to stdout or stderr.
pub trait Output: Send + Sync + 'static {
    /// Takes `bytes`, at most 64 KiB. Never blocks: it drops what it has no room for, and
    /// counts that by itself.
    fn write(&self, bytes: &[u8]);
}

/// Keeps all that is written, in memory and without a bound: for tests and benchmarks.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Vec<u8>>);

impl Kept {
    /// What was written so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.all().clone()
    }

    /// The same as text; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.all()).into_owned()
    }

    fn all(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output for Kept {
    fn write(&self, bytes: &[u8]) {
        self.all().extend_from_slice(bytes);
    }
}

/// The two outputs of a VM.
#[derive(Clone)]
pub(crate) struct Outputs {
    pub(crate) stdout: Arc<dyn Output>,
    pub(crate) stderr: Arc<dyn Output>,
}
