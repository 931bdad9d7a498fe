//! What VMs of a cluster may reach: rules, keys and reports between the API server and a node's
//! gateway, which works in a network of the test's own.
#![expect(clippy::unwrap_used, reason = "tests: a panic is the report")]

mod gateways;
mod keys;
mod outside;
mod reports;
mod rules;
mod site;
mod standalone;
