//! Drives both guest interfaces to a VM's files: preview1 by a core module, preview2 by a
//! component.
//!
//! A real guest, running in a real VM, interprets a [`Script`]: a list of calls whose arguments
//! may be what earlier calls answered. So a test says in a few lines what a guest asks, and
//! whatever lies between a guest's instruction and the filesystem takes part: the decoding of
//! arguments, handles, charges, limits. [`Guest::run`] brings the answers back.
//!
//! [`check()`] does that with operations that arbitrary bytes stand for, and compares with the
//! filesystem itself and with a model of it.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "only tests use it: what is unexpected shall fail them"
)]

mod backend;
mod check;
pub mod interpreter;
pub mod operation;
pub mod outcome;
mod preview1;
pub mod preview2;
mod reference;
mod run;
pub mod script;

pub use check::check;
pub use run::{Guest, Interface, Ran, limits};
pub use script::{Answer, Arg, Memory, Script};

use interpreter::Function;
use script::{ANSWERS, HEAP_END};

/// What a guest writes to its stdout in one call.
const PIECE_BYTES: u32 = 64 << 10;

/// Where the pieces begin in which a guest writes its answers.
fn pieces() -> impl Iterator<Item = u32> {
    (ANSWERS..HEAP_END).step_by(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX))
}

/// A function's place in the table of its guest.
fn number(functions: &[Function], name: &str) -> u32 {
    let index = functions.iter().position(|known| known.name == name);
    assert!(index.is_some(), "no function {name}");
    u32::try_from(index.unwrap_or_default()).unwrap_or(u32::MAX)
}
