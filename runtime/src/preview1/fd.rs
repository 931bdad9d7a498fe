//! Descriptors: which are open, and what is asked of streams, files and directories.

mod allocation;
mod directory;
mod position;
mod read;
mod stat;
mod times;
mod transfer;
mod write;

pub(super) use self::stat::known_flags;
use agentvm_vfs::{Error, Node};
use wasmtime::{Caller, Linker};

use super::MODULE;
use super::descriptors::{Descriptor, Descriptors};
use super::errno::{Answer, Errno, code};
use crate::host::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    allocation::link(linker)?;
    directory::link(linker)?;
    position::link(linker)?;
    stat::link(linker)?;
    times::link(linker)?;
    transfer::link(linker)?;
    link_table(linker)
}

/// What changes which descriptors are open.
fn link_table(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_close",
        |mut caller: Caller<'_, Host>, fd: u32| code(change(&mut caller, |open| open.close(fd))),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_renumber",
        |mut caller: Caller<'_, Host>, from: u32, to: u32| {
            code(change(&mut caller, |open| open.renumber(from, to)))
        },
    )?;
    Ok(())
}

/// Closing the last descriptor of a file that has no name any more frees it, which is work.
fn change(
    caller: &mut Caller<'_, Host>,
    change: impl FnOnce(&mut Descriptors) -> Answer,
) -> Answer {
    let host = caller.data_mut();
    let answer = change(&mut host.descriptors);
    host.charge_files(0);
    answer
}

/// Why what is not open for writing can't be changed: a read-only mount says so before the
/// descriptor does, by an empty write, which changes nothing.
fn unwritable(host: &Host, node: &Node, errno: Errno) -> Errno {
    let result = node.write_at(0, &[], host.now());
    host.charge_files(0);
    match result {
        Err(Error::ReadOnly) => Errno::ROFS,
        Ok(_) | Err(_) => errno,
    }
}

/// `errno` where `fd` is open and a stream: it can't do what is asked.
fn not_a_stream(host: &Host, fd: u32, errno: Errno) -> Result<&Descriptor, Errno> {
    match host.descriptors.get(fd)? {
        Descriptor::Stream { .. } | Descriptor::Exchange(_) => Err(errno),
        descriptor @ (Descriptor::File(_) | Descriptor::Directory(_)) => Ok(descriptor),
    }
}
