//! The budget table: every bound on what a guest, or whoever brings one, makes the host do.
//!
//! The code takes its numbers from here, `docs/limits.md` is written from here, and a test walks
//! the sources for numbers that are neither here nor known to bound nothing of a guest's.

mod bound;
mod calls;
mod channel;
mod document;
mod files;
mod manifest;
mod module;
mod network;
mod output;
mod process;
mod settable;
mod vm;

pub use bound::{Bound, Section, Unit};
pub use calls::*;
pub use channel::*;
pub use document::document;
pub use files::*;
pub use manifest::*;
pub use module::*;
pub use network::*;
pub use output::*;
pub use process::*;
pub use settable::{AtLimit, at_limit};
pub use vm::*;

/// The fixed bounds, by what they bound.
pub const SECTIONS: [&Section; 9] = [
    &module::SECTION,
    &vm::SECTION,
    &calls::SECTION,
    &network::SECTION,
    &files::SECTION,
    &output::SECTION,
    &process::SECTION,
    &channel::SECTION,
    &manifest::SECTION,
];

/// Every fixed bound.
pub fn bounds() -> impl Iterator<Item = &'static Bound> {
    SECTIONS.into_iter().flat_map(|section| section.bounds)
}
