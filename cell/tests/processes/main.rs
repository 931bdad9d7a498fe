//! The real warden, cells and compilers, driven over their sockets.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets the unexpected must fail where it does"
)]

mod archives;
mod cells;
mod docs;
mod fence;
mod files;
mod harness;
mod jail;
mod logs;
mod memory;
mod modules;
mod vms;
mod wat;
