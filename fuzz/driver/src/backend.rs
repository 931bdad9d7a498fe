//! How each interface is asked for an operation, and how its answer reads.

use agentvm_vfs::Error;

use crate::operation::Operation;
use crate::outcome::Outcome;
use crate::script::{Arg, Memory, Script};

/// Reads the outcome of one operation out of the guest's memory.
pub(crate) type Reading = Box<dyn Fn(&Memory) -> Outcome>;

/// One of the two interfaces, in the course of one script.
pub(crate) trait Backend {
    /// Adds the calls of an operation. `nodes` are the handles of what is open, and what is
    /// `expected` says which handles there will be: using another would end a component. What
    /// `Open` makes is the second result.
    fn add(
        &self,
        script: &mut Script,
        operation: &Operation,
        nodes: &[Arg],
        expected: &Outcome,
    ) -> (Reading, Option<Arg>);
}

/// An error of the filesystem by its name in WASI 0.2.
pub(crate) fn named(name: &str) -> Outcome {
    let error = match name {
        "access" => Error::Access,
        "busy" => Error::Busy,
        "exist" => Error::Exists,
        "file-too-large" => Error::FileTooLarge,
        "illegal-byte-sequence" => Error::IllegalBytes,
        "invalid" => Error::Invalid,
        "is-directory" => Error::IsDirectory,
        "loop" => Error::Loop,
        "too-many-links" => Error::TooManyLinks,
        "name-too-long" => Error::NameTooLong,
        "no-entry" => Error::NoEntry,
        "insufficient-memory" => Error::NoMemory,
        "insufficient-space" => Error::NoSpace,
        "not-directory" => Error::NotDirectory,
        "not-empty" => Error::NotEmpty,
        "not-permitted" => Error::NotPermitted,
        "quota" => Error::Quota,
        "read-only" => Error::ReadOnly,
        "cross-device" => Error::CrossDevice,
        _ => return Outcome::Refused,
    };
    Outcome::Failed(error)
}

/// An error of the filesystem by its number in preview1.
pub(crate) fn numbered(errno: u32) -> Outcome {
    named(match errno {
        2 => "access",
        10 => "busy",
        19 => "quota",
        20 => "exist",
        22 => "file-too-large",
        25 => "illegal-byte-sequence",
        28 => "invalid",
        31 => "is-directory",
        32 => "loop",
        34 => "too-many-links",
        37 => "name-too-long",
        44 => "no-entry",
        48 => "insufficient-memory",
        51 => "insufficient-space",
        54 => "not-directory",
        55 => "not-empty",
        63 => "not-permitted",
        69 => "read-only",
        75 => "cross-device",
        _ => "another",
    })
}
