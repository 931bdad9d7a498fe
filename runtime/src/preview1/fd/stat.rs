//! What a descriptor is and how it was opened.

use wasmtime::{Caller, Linker};

use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::Descriptor;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::filestat::filetype;
use crate::preview1::memory::split;
use crate::preview1::rights;

pub(in crate::preview1) const APPEND: u16 = 1;
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
        |mut caller: Caller<'_, Host>, fd: u32, flags: u32| {
            code(set_flags(caller.data_mut(), fd, flags))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_fdstat_set_rights",
        |mut caller: Caller<'_, Host>, fd: u32, base: u64, inheriting: u64| {
            code(set_rights(caller.data_mut(), fd, base, inheriting))
        },
    )?;
    Ok(())
}

fn fdstat(caller: &mut Caller<'_, Host>, fd: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let descriptor = host.descriptors.get(fd)?;
    let mut stat = [0; 24];
    let fields: [(usize, &[u8]); 4] = [
        (0, &[kind(descriptor)]),
        (2, &flags(descriptor).to_le_bytes()),
        (8, &rights::base(descriptor).to_le_bytes()),
        (16, &rights::inheriting(descriptor).to_le_bytes()),
    ];
    for (at, field) in fields {
        if let Some(place) = stat.get_mut(at..at + field.len()) {
            place.copy_from_slice(field);
        }
    }
    memory.write(at, &stat)
}

/// A stream or an exchange is of type 0, "unknown": a terminal would make programs prompt and colour.
fn kind(descriptor: &Descriptor) -> u8 {
    descriptor.node().map_or(0, |node| filetype(node.kind()))
}

fn flags(descriptor: &Descriptor) -> u16 {
    match descriptor {
        Descriptor::Stream { nonblocking, .. } if *nonblocking => NONBLOCK,
        Descriptor::Exchange(exchange) if exchange.nonblocking => NONBLOCK,
        Descriptor::Stream { .. } | Descriptor::Exchange(_) => 0,
        Descriptor::File(file) => file.flags,
        Descriptor::Directory(directory) => directory.flags,
    }
}

/// Flags as a guest names them.
///
/// # Errors
///
/// INVAL for flags that don't exist.
pub(in crate::preview1) fn known_flags(flags: u32) -> Result<u16, Errno> {
    if flags & !ALL_FLAGS != 0 {
        return Err(Errno::INVAL);
    }
    Ok(u16::try_from(flags)?)
}

/// Of a stream or an exchange, only whether calls wait can be changed. Files never wait, and all that is
/// written is where it can be read at once, so only APPEND makes a difference to them.
fn set_flags(host: &mut Host, fd: u32, flags: u32) -> Answer {
    let flags = known_flags(flags)?;
    match host.descriptors.get_mut(fd)? {
        Descriptor::Stream { nonblocking, .. } => *nonblocking = flags & NONBLOCK != 0,
        Descriptor::Exchange(exchange) => exchange.nonblocking = flags & NONBLOCK != 0,
        Descriptor::File(file) => file.flags = flags,
        Descriptor::Directory(directory) => directory.flags = flags,
    }
    Ok(())
}

/// Rights can only be given up, and only those to read and to write a file are.
fn set_rights(host: &mut Host, fd: u32, base: u64, inheriting: u64) -> Answer {
    let descriptor = host.descriptors.get_mut(fd)?;
    let more = base & !rights::base(descriptor) | inheriting & !rights::inheriting(descriptor);
    if more != 0 {
        return Err(Errno::NOTCAPABLE);
    }
    if let Descriptor::File(file) = descriptor {
        file.readable &= base & rights::FD_READ != 0;
        file.writable &= base & rights::FD_WRITE != 0;
    }
    Ok(())
}
