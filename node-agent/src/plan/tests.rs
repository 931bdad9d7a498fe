//! The plan against a world in memory: tables for each rule, and a random life for the laws.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail")]

mod laws;
mod rules;
mod world;
