//! The virtual filesystem of one VM: a tree of mounts over inodes in memory.
//!
//! A [`Filesystem`] is made from the mounts that a VM is granted and a budget in bytes and inodes.
//! The two guest interfaces (preview1 and preview2) work on [`Node`]s, which are open references:
//! a file that is unlinked lives, and counts, until its last `Node` is dropped.
//!
//! Nothing here knows a path of the host, a clock or a guest: time is an argument, a guest's
//! mistake is an [`Error`], and what the host worked is counted in steps ([`Filesystem::take_work`])
//! for the caller to charge.
//!
//! ```
//! use agentvm_vfs::{Access, Budget, Error, Filesystem, Follow, Mount, Open, Source};
//!
//! let work = Mount {
//!     path: "/work".to_owned(),
//!     access: Access::ReadWrite,
//!     source: Source::Empty { max_bytes: None },
//! };
//! let budget = Budget { bytes: 64 << 10, inodes: 16 };
//! let filesystem = Filesystem::new(budget, &[work], 0)?;
//! let root = filesystem.root();
//!
//! let create = Open { create: true, write: true, ..Open::default() };
//! let file = root.open("work/notes", Follow::Yes, create, 1)?;
//! assert_eq!(file.write_at(0, b"hello", 2)?, 5);
//! assert_eq!(root.metadata_of("work/notes", Follow::Yes)?.size, 5);
//!
//! // Nothing is there but the mounts, and nothing leads out of them.
//! let leads_out = root.open("work/../../etc/passwd", Follow::Yes, Open::default(), 3);
//! assert_eq!(leads_out.err(), Some(Error::NotPermitted));
//! assert_eq!(root.create_directory("etc", 3), Err(Error::ReadOnly));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod filesystem;
#[cfg(feature = "mutants")]
pub mod guards;
#[cfg(not(feature = "mutants"))]
mod guards;
mod metadata;
mod mount;
mod node;
mod tree;

pub use error::Error;
pub use filesystem::{Budget, Filesystem, Growth, Usage};
pub use metadata::{Kind, Metadata, SetTime, Timestamp};
pub use mount::{Access, File, Files, Mount, MountError, Source};
pub use node::{Entry, Follow, Node, Open};

/// The most bytes of one name.
pub const MAX_NAME_BYTES: usize = 255;
/// The most bytes of one path, and of a symbolic link's target.
pub const MAX_PATH_BYTES: usize = 4_096;
/// Symbolic links that one path may lead through.
pub const MAX_SYMLINKS: u32 = 40;
/// How deep directories nest below the root.
pub const MAX_DEPTH: usize = 512;
/// Hard links of one file.
pub const MAX_LINKS: u32 = 65_000;
/// Mounts of one VM.
pub const MAX_MOUNTS: usize = 32;
