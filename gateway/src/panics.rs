//! Panics: each is a bug of ours, counted, told by its place alone, and the end of one request.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

static PANICS: AtomicU64 = AtomicU64::new(0);
static HOOK: Once = Once::new();

/// Counts panics from now on. What they say may hold what a guest or an upstream said, or a key:
/// the log has their place and no more.
pub(crate) fn watch() {
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place = place.as_deref().unwrap_or("?"), "panic");
        }));
    });
}

/// How many there were.
pub(crate) fn count() -> u64 {
    PANICS.load(Ordering::Relaxed)
}
