//! Paths, each of them below a directory that is open.

mod link;
mod metadata;
mod name;
mod open;

use agentvm_vfs::{Error, Follow, Node, Timestamp};
use wasmtime::{Caller, Linker};

use super::errno::Errno;
use super::memory::split;
use crate::budget::Closed;
use crate::host::Host;

/// A symbolic link at the end of a path is followed.
const SYMLINK_FOLLOW: u32 = 1;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    link::link(linker)?;
    metadata::link(linker)?;
    name::link(linker)?;
    open::link(linker)
}

/// A path as a guest names it.
#[derive(Clone, Copy, Debug)]
struct Path {
    /// The descriptor of the directory that it starts from.
    dir: u32,
    at: u32,
    len: u32,
}

/// The directory at `dir`. Where nothing is mounted there is none, and asking for one is
/// counted as a denial.
pub(super) fn directory(host: &Host, dir: u32) -> Result<&Node, Errno> {
    let directory = host.descriptors.directory(dir).inspect_err(|_| {
        if host.filesystem.is_empty() {
            host.shared.budget.denials.add(Closed::Filesystem);
        }
    })?;
    Ok(&directory.node)
}

/// Whether the last name is followed where it is a symbolic link.
///
/// # Errors
///
/// INVAL for flags that don't exist.
fn follow(flags: u32) -> Result<Follow, Errno> {
    match flags {
        0 => Ok(Follow::No),
        SYMLINK_FOLLOW => Ok(Follow::Yes),
        _ => Err(Errno::INVAL),
    }
}

/// Calls the filesystem with a path, and charges for what that worked.
fn with<T>(
    caller: &mut Caller<'_, Host>,
    path: Path,
    call: impl FnOnce(&Node, &str, Timestamp) -> Result<T, Error>,
) -> Result<T, Errno> {
    let (memory, host) = split(caller)?;
    let dir = directory(host, path.dir)?;
    let name = memory.path(path.at, path.len)?;
    let result = call(dir, name, host.now());
    host.charge_files(name.len());
    Ok(result?)
}

/// Calls the filesystem with two paths, and charges for what that worked.
fn with_two<T>(
    caller: &mut Caller<'_, Host>,
    from: Path,
    to: Path,
    call: impl FnOnce((&Node, &str), (&Node, &str), Timestamp) -> Result<T, Error>,
) -> Result<T, Errno> {
    let (memory, host) = split(caller)?;
    let (from_dir, to_dir) = (directory(host, from.dir)?, directory(host, to.dir)?);
    let from = memory.path(from.at, from.len)?;
    let to = memory.path(to.at, to.len)?;
    let result = call((from_dir, from), (to_dir, to), host.now());
    host.charge_files(from.len() + to.len());
    Ok(result?)
}
