//! The real warden, cells and compilers, driven over their sockets.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must fail where it does"
)]

mod cells;
mod fence;
mod harness;
mod logs;
mod modules;
mod vms;
mod wat;
