//! The whole way out of a VM: a real guest, its cell, the warden, the gateway and a host, in a
//! network of the test's own in which every address that must not be reached is listened on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests: a panic is the report"
)]

mod buffers;
mod examples;
mod faults;
mod keys;
mod machine;
mod refusals;
mod sentinels;
