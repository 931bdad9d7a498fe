//! What is told of an open file, and setting its times.

use wasmtime::{Caller, Linker};

use super::not_a_stream;
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::filestat::{filestat, times};
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_filestat_get",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32| code(get(&mut caller, fd, at)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |caller: Caller<'_, Host>, fd: u32, accessed: u64, modified: u64, flags: u32| {
            code(set(caller.data(), fd, accessed, modified, flags))
        },
    )?;
    Ok(())
}

/// A stream has one link and nothing else: no size, no time, no device of the host's.
fn get(caller: &mut Caller<'_, Host>, fd: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let Some(node) = host.descriptors.get(fd)?.node() else {
        let stat = memory.slice_mut(at, 64)?;
        stat.fill(0);
        return memory.write_u64(at.saturating_add(24), 1);
    };
    let metadata = node.metadata();
    host.charge_files(0);
    memory.write(at, &filestat(&metadata))
}

fn set(host: &Host, fd: u32, accessed: u64, modified: u64, flags: u32) -> Answer {
    let descriptor = not_a_stream(host, fd, Errno::INVAL)?;
    let (accessed, modified) = times(accessed, modified, flags)?;
    let node = descriptor.node().ok_or(Errno::INVAL)?;
    let result = node.set_times(accessed, modified, host.now());
    host.charge_files(0);
    Ok(result?)
}
