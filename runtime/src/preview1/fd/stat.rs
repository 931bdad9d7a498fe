//! What a descriptor is: a stream of bytes that is no terminal and has no file behind it.

use wasmtime::{Caller, Linker};

use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::{Descriptor, Stream};
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::memory::split;

const FD_READ: u64 = 1 << 1;
const FD_FDSTAT_SET_FLAGS: u64 = 1 << 3;
const FD_WRITE: u64 = 1 << 6;
const FD_FILESTAT_GET: u64 = 1 << 21;
const POLL_FD_READWRITE: u64 = 1 << 27;

const NONBLOCK: u16 = 1 << 2;
/// Every flag that exists.
const ALL_FLAGS: u32 = 0b1_1111;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_fdstat_get",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32| code(fdstat(&mut caller, fd, at)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_flags",
        |mut caller: Caller<'_, Host>, fd: u32, flags: u32| code(set_flags(&mut caller, fd, flags)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_rights",
        |caller: Caller<'_, Host>, fd: u32, base: u64, inheriting: u64| {
            code(set_rights(&caller, fd, base, inheriting))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_get",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32| code(filestat(&mut caller, fd, at)),
    )?;
    Ok(())
}

/// File type 0 is "unknown": a terminal would make programs prompt and colour.
fn fdstat(caller: &mut Caller<'_, Host>, fd: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let descriptor = host.descriptors.get(fd)?;
    let stat = memory.slice_mut(at, 24)?;
    stat.fill(0);
    let flags = if descriptor.nonblocking { NONBLOCK } else { 0 };
    put(stat, 2, &flags.to_le_bytes());
    put(stat, 8, &rights(descriptor).to_le_bytes());
    Ok(())
}

fn rights(descriptor: Descriptor) -> u64 {
    let common = FD_FDSTAT_SET_FLAGS | FD_FILESTAT_GET | POLL_FD_READWRITE;
    match descriptor.stream {
        Stream::Stdin => common | FD_READ,
        Stream::Stdout | Stream::Stderr => common | FD_WRITE,
    }
}

/// Only whether reads wait can be changed; the other flags are about files.
fn set_flags(caller: &mut Caller<'_, Host>, fd: u32, flags: u32) -> Answer {
    if flags & !ALL_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    let nonblocking = flags & u32::from(NONBLOCK) != 0;
    caller
        .data_mut()
        .descriptors
        .set_nonblocking(fd, nonblocking)
}

/// Rights can be asked for within what is there; they are not narrowed for real, since the
/// streams can't do anything else anyway.
fn set_rights(caller: &Caller<'_, Host>, fd: u32, base: u64, inheriting: u64) -> Answer {
    let held = rights(caller.data().descriptors.get(fd)?);
    if base & !held != 0 || inheriting != 0 {
        Err(Errno::NOTCAPABLE)
    } else {
        Ok(())
    }
}

fn filestat(caller: &mut Caller<'_, Host>, fd: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    host.descriptors.get(fd)?;
    let stat = memory.slice_mut(at, 64)?;
    stat.fill(0);
    put(stat, 24, &1_u64.to_le_bytes()); // one link
    Ok(())
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = to.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}
