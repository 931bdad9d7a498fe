//! Arbitrary valid modules, each run in a VM under limits and, where that says something, in
//! another engine that has nothing in common with it.
//!
//! [`Module::of`] makes a module out of arbitrary bytes: of one of three [`Shape`]s, with an
//! entry point that calls what is in it and, in the end, prints a digest of all its state.
//! [`check`] runs it and says what it should not have done: fail the host, take more of the
//! processor or of memory than it was given, or end as it does not end elsewhere. [`soak()`] does
//! that with one seed after another, on every core.
//!
//! The other engine is wasmi, an interpreter, so that the two share neither compiler nor
//! representation of memory; only the parser is by the same authors.

mod check;
mod clock;
mod entry;
mod module;
mod numbers;
mod other;
mod outcome;
mod preview1;
mod shape;
mod soak;
mod tally;
mod vm;

pub use check::{Failure, Verdict, check};
pub use module::Module;
pub use numbers::{Numbers, bytes};
pub use outcome::{Outcome, TrapKind};
pub use shape::Shape;
pub use soak::{Settings, SoakError, soak};
pub use tally::Tally;
