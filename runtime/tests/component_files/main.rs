//! What components find in their files by `wasi:filesystem`, and what attacks on them come to.
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something unexpected shall fail"
)]

mod bounds;
mod bytes;
mod directories;
#[cfg(feature = "mutants")]
mod mutants;
mod names;
mod paths;
mod read_only;
mod vm;
