//! The virtual filesystem as its users see it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod linux;
mod seen;
mod smoke;
