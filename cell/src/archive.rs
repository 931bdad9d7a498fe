//! Archives that carry files into a VM and out of it: tar as GNU tar writes it, and no more of
//! it than directories, files and links need.
//!
//! Whoever reads one trusts nothing in it: every path is relative and canonical, every name is
//! UTF-8, devices and sockets are refused, and what is claimed of a size is never allocated.

mod item;
mod read;
mod write;

pub use item::{Item, Kind, NameError, check_path};
pub use read::{ReadError, read};
pub use write::{WriteError, Writer};

/// The most bytes of one archive: the most that a VM may store, and as much again for headers.
pub const MAX_ARCHIVE_BYTES: u64 = agentvm_policy::budget::ARCHIVE_BYTES.value;
