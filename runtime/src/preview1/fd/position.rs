//! Where the next read or write of a file happens.

use wasmtime::{Caller, Linker};

use super::not_a_stream;
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::Descriptor;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |mut caller: Caller<'_, Host>, fd: u32, delta: i64, whence: u32, at: u32| {
            code(seek(&mut caller, fd, delta, whence, at))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_tell",
        |mut caller: Caller<'_, Host>, fd: u32, at: u32| code(tell(&mut caller, fd, at)),
    )?;
    Ok(())
}

fn seek(caller: &mut Caller<'_, Host>, fd: u32, delta: i64, whence: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let Descriptor::File(file) = not_a_stream(host, fd, Errno::SPIPE)? else {
        return Err(Errno::BADF);
    };
    let from = match whence {
        0 => 0,
        1 => file.position,
        2 => file.node.metadata().size,
        _ => return Err(Errno::INVAL),
    };
    let position = moved(from, delta)?;
    memory.write_u64(at, position)?;
    host.descriptors.file_mut(fd)?.position = position;
    host.charge_files(0);
    Ok(())
}

/// A position before the start, or above what can be told as a signed number, is INVAL.
fn moved(from: u64, delta: i64) -> Result<u64, Errno> {
    from.checked_add_signed(delta)
        .filter(|position| i64::try_from(*position).is_ok())
        .ok_or(Errno::INVAL)
}

fn tell(caller: &mut Caller<'_, Host>, fd: u32, at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    match not_a_stream(host, fd, Errno::SPIPE)? {
        Descriptor::File(file) => memory.write_u64(at, file.position),
        Descriptor::Directory(_) | Descriptor::Exchange(_) | Descriptor::Stream { .. } => {
            Err(Errno::BADF)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_stay_within_what_a_signed_number_tells() {
        let most = u64::try_from(i64::MAX).unwrap();
        for (from, delta, expected) in [
            (0, 5, Ok(5)),
            (5, -5, Ok(0)),
            (5, -6, Err(Errno::INVAL)),
            (0, i64::MIN, Err(Errno::INVAL)),
            (0, i64::MAX, Ok(most)),
            (1, i64::MAX, Err(Errno::INVAL)),
            (most, 1, Err(Errno::INVAL)),
        ] {
            assert_eq!(moved(from, delta), expected, "{from}{delta:+}");
        }
    }
}
