//! The gateway against hosts that mean ill and guests that try to get past it: each test in a
//! network of its own, where it listens on every address that must not be reached.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests: a panic is the report"
)]

mod addresses;
mod bodies;
mod canonical;
mod framing;
mod keys;
mod limits;
mod permits;
mod process;
mod raw;
mod reuse;
mod rotation;
mod secure;
mod world;
