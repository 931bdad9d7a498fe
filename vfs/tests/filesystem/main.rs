//! The virtual filesystem as its users see it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod laws;
mod linux;
mod model;
mod seen;
mod smoke;
