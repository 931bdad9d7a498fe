//! The size of files, and hints and promises about what is held of them.

use agentvm_vfs::{Error, Node, Timestamp};
use wasmtime::{Caller, Linker};

use super::{not_a_stream, unwritable};
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::Descriptor;
use crate::preview1::errno::{Answer, Errno, code};

/// Pieces of advice that exist.
const ADVICES: u32 = 6;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_advise",
        |caller: Caller<'_, Host>, fd: u32, offset: u64, len: u64, advice: u32| {
            code(advise(caller.data(), fd, offset, len, advice))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_allocate",
        |caller: Caller<'_, Host>, fd: u32, offset: u64, len: u64| {
            code(allocate(caller.data(), fd, offset, len))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_size",
        |caller: Caller<'_, Host>, fd: u32, size: u64| code(set_size(caller.data(), fd, size)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_datasync",
        |caller: Caller<'_, Host>, fd: u32| code(sync(caller.data(), fd)),
    )?;
    linker.func_wrap(MODULE, "fd_sync", |caller: Caller<'_, Host>, fd: u32| {
        code(sync(caller.data(), fd))
    })?;
    Ok(())
}

/// All of it is in memory already, so no advice makes a difference.
fn advise(host: &Host, fd: u32, offset: u64, len: u64, advice: u32) -> Answer {
    let Descriptor::File(_) = not_a_stream(host, fd, Errno::SPIPE)? else {
        return Err(Errno::BADF);
    };
    let is_range = i64::try_from(offset).is_ok() && i64::try_from(len).is_ok();
    if advice < ADVICES && is_range {
        Ok(())
    } else {
        Err(Errno::INVAL)
    }
}

/// What is not open for writing is BADF, as for `posix_fallocate`.
fn allocate(host: &Host, fd: u32, offset: u64, len: u64) -> Answer {
    if len == 0 || i64::try_from(offset).is_err() || i64::try_from(len).is_err() {
        return not_a_stream(host, fd, Errno::INVAL).and(Err(Errno::INVAL));
    }
    change(host, fd, Errno::BADF, |node, now| {
        node.allocate(offset, len, now)
    })
}

/// What is not open for writing is INVAL, as for `ftruncate`.
fn set_size(host: &Host, fd: u32, size: u64) -> Answer {
    if i64::try_from(size).is_err() {
        return not_a_stream(host, fd, Errno::INVAL).and(Err(Errno::INVAL));
    }
    change(host, fd, Errno::INVAL, |node, now| node.set_size(size, now))
}

fn change(
    host: &Host,
    fd: u32,
    errno: Errno,
    change: impl FnOnce(&Node, Timestamp) -> Result<(), Error>,
) -> Answer {
    let descriptor = not_a_stream(host, fd, Errno::INVAL)?;
    let node = descriptor.node().ok_or(errno)?;
    let is_writable = match descriptor {
        Descriptor::File(file) => file.writable,
        Descriptor::Directory(_) | Descriptor::Exchange(_) | Descriptor::Stream { .. } => false,
    };
    if !is_writable {
        return Err(unwritable(host, node, errno));
    }
    let result = change(node, host.now());
    host.charge_files(0);
    Ok(result?)
}

/// There is nothing behind the memory that files are in.
fn sync(host: &Host, fd: u32) -> Answer {
    not_a_stream(host, fd, Errno::INVAL).map(drop)
}
