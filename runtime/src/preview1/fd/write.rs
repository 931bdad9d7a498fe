//! Writing stdout and stderr, at most 64 KiB a call.

use wasmtime::{Caller, Linker};

use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::Stream;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::iovec;
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_write",
        |mut caller: Caller<'_, Host>, fd: u32, list: u32, count: u32, written_at: u32| {
            code(write(&mut caller, fd, list, count, written_at))
        },
    )?;
    Ok(())
}

fn write(caller: &mut Caller<'_, Host>, fd: u32, list: u32, count: u32, written_at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let output = match host.descriptors.get(fd)?.stream {
        Stream::Stdin => return Err(Errno::BADF),
        Stream::Stdout => &host.outputs.stdout,
        Stream::Stderr => &host.outputs.stderr,
    };
    memory.write_u32(written_at, 0)?;
    let bytes = iovec::gather(&memory, list, count)?;
    host.charge_bytes(bytes.len() + iovec::list_bytes(count));
    if !bytes.is_empty() {
        output.write(&bytes);
    }
    let written = u32::try_from(bytes.len())?;
    memory.write_u32(written_at, written)
}
