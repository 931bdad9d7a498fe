//! Real guests, written as text and compiled here, against the whole runtime.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that meets something unexpected shall fail"
)]

mod bulk;
mod components;
mod cpu;
mod endings;
mod files;
mod handles;
mod harness;
mod host_calls;
mod leaks;
mod limits;
mod memory;
mod modules;
#[cfg(feature = "mutants")]
mod mutants;
mod parsing;
mod preview1;
mod proposals;
mod requests;
mod stopping;
mod weighed;
