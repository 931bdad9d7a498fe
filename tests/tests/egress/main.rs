//! The whole way out of a VM: a real guest, its cell, the warden, the gateway and a host, in a
//! network of the test's own in which every address that must not be reached is listened on.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests: a panic is the report"
)]

mod authority;
#[expect(dead_code, reason = "the tests of the gateway script it further")]
#[path = "../gateway/dns.rs"]
mod dns;
mod examples;
mod faults;
mod keys;
mod machine;
#[path = "../gateway/message.rs"]
mod message;
#[path = "../gateway/network.rs"]
mod network;
mod refusals;
mod sentinels;
#[expect(dead_code, reason = "the tests of the gateway script them further")]
#[path = "../gateway/upstream.rs"]
mod upstream;
