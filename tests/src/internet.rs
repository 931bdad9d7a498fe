//! An internet of a test's own: a network in which every address is this machine's, a name server
//! that says what it is told to, and hosts that take down every byte.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "tests: a panic is the report"
)]

pub mod authority;
pub mod dns;
pub mod message;
pub mod network;
pub mod upstream;
