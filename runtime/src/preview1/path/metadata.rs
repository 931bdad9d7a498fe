//! What is told of what a path names, and setting its times.

use wasmtime::{Caller, Linker};

use super::{Path, follow, with};
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::filestat::{filestat, times};
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |mut caller: Caller<'_, Host>, dir: u32, lookup: u32, at: u32, len: u32, stat: u32| {
            code(get(&mut caller, Path { dir, at, len }, lookup, stat))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         lookup: u32,
         at: u32,
         len: u32,
         accessed: u64,
         modified: u64,
         flags: u32| {
            let path = Path { dir, at, len };
            code(set(&mut caller, path, lookup, (accessed, modified), flags))
        },
    )?;
    Ok(())
}

/// The flags of a lookup come after the descriptor: what is no directory is told first.
fn checked<T>(caller: &Caller<'_, Host>, path: Path, flags: Result<T, Errno>) -> Result<T, Errno> {
    super::directory(caller.data(), path.dir)?;
    flags
}

fn get(caller: &mut Caller<'_, Host>, path: Path, lookup: u32, stat_at: u32) -> Answer {
    let follow = checked(caller, path, follow(lookup))?;
    let metadata = with(caller, path, |dir, path, _| dir.metadata_of(path, follow))?;
    split(caller)?.0.write(stat_at, &filestat(&metadata))
}

fn set(
    caller: &mut Caller<'_, Host>,
    path: Path,
    lookup: u32,
    (accessed, modified): (u64, u64),
    flags: u32,
) -> Answer {
    let follow = checked(caller, path, follow(lookup))?;
    let (accessed, modified) = times(accessed, modified, flags)?;
    with(caller, path, |dir, path, now| {
        dir.set_times_of(path, follow, accessed, modified, now)
    })
}
