//! What a request may look like, which rule permits it, and which addresses stay closed.
#![expect(clippy::unwrap_used, reason = "tests: a panic is the report")]

mod addresses;
mod canonical;
mod laws;
mod rules;
