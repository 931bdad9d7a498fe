//! The virtual filesystem as its users see it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod escape;
mod laws;
#[cfg(target_os = "linux")]
mod linux;
mod listing;
mod model;
mod mounts;
mod naming;
mod quotas;
mod read_only;
mod seen;
mod times;
