//! What a program tries that took over a process of ours, for the tests of its jail.
//!
//! A test starts its own binary twice: as the process in its jail, and as the same process without.
//! Both try everything that is here and what is there for that process alone, each attempt harmless
//! where it gets through, and write down what became of it ([`outcome::tell`]). In the jail each must
//! be refused, and without it each must get through ([`outcome::judge`]).
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::print_stdout,
    reason = "a test that meets the unexpected must fail where it does, and says what it found"
)]

pub mod attempts;
pub mod call;
pub mod outcome;
