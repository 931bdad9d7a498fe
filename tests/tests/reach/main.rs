//! What VMs of a cluster may reach: rules, keys and reports between the API server and a node's
//! gateway, which works in a network of the test's own.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests: a panic is the report"
)]

#[path = "../egress/authority.rs"]
mod authority;
#[expect(dead_code, reason = "the tests of the gateway script it further")]
#[path = "../gateway/dns.rs"]
mod dns;
mod gateways;
mod keys;
#[path = "../gateway/message.rs"]
mod message;
#[path = "../gateway/network.rs"]
mod network;
mod outside;
mod reports;
mod rules;
mod site;
mod standalone;
#[expect(dead_code, reason = "the tests of the gateway script them further")]
#[path = "../gateway/upstream.rs"]
mod upstream;
