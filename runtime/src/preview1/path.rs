//! Paths: there is no directory that one could start from, so every call is refused.

use wasmtime::{Caller, Linker};

use super::MODULE;
use super::errno::{Errno, code};
use crate::host::Host;
use crate::usage::Closed;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_create_directory",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32| refuse(&caller, dir),
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_get",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32, _: u32, _: u32| refuse(&caller, dir),
    )?;
    linker.func_wrap(
        MODULE,
        "path_filestat_set_times",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| {
            refuse(&caller, dir)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_link",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            refuse(&caller, dir)
        },
    )?;
    link_open(linker)?;
    linker.func_wrap(
        MODULE,
        "path_readlink",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            refuse(&caller, dir)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_remove_directory",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32| refuse(&caller, dir),
    )?;
    linker.func_wrap(
        MODULE,
        "path_rename",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            refuse(&caller, dir)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_symlink",
        |caller: Caller<'_, Host>, _: u32, _: u32, dir: u32, _: u32, _: u32| refuse(&caller, dir),
    )?;
    linker.func_wrap(
        MODULE,
        "path_unlink_file",
        |caller: Caller<'_, Host>, dir: u32, _: u32, _: u32| refuse(&caller, dir),
    )?;
    Ok(())
}

fn link_open(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_open",
        |caller: Caller<'_, Host>,
         dir: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u32,
         _: u64,
         _: u64,
         _: u32,
         _: u32| refuse(&caller, dir),
    )?;
    Ok(())
}

/// No directory is open: the standard streams are none, and nothing else is open at all.
fn refuse(caller: &Caller<'_, Host>, dir: u32) -> i32 {
    let host = caller.data();
    host.shared.account.deny(Closed::Filesystem);
    code(host.descriptors.get(dir).and(Err(Errno::NOTDIR)))
}
