//! Descriptors: reading stdin, writing stdout and stderr, and what else is asked of them.

mod read;
mod stat;
mod write;

use wasmtime::{Caller, Linker};

use super::MODULE;
use super::errno::{Answer, Errno, code};
use crate::host::Host;
use crate::usage::Closed;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    read::link(linker)?;
    write::link(linker)?;
    stat::link(linker)?;
    link_table(linker)?;
    link_position(linker)?;
    link_files(linker)?;
    link_directories(linker)
}

/// What changes which descriptors are open.
fn link_table(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_close",
        |mut caller: Caller<'_, Host>, fd: u32| code(caller.data_mut().descriptors.close(fd)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_renumber",
        |mut caller: Caller<'_, Host>, from: u32, to: u32| {
            code(caller.data_mut().descriptors.renumber(from, to))
        },
    )?;
    Ok(())
}

/// What needs a position: no stream has one.
fn link_position(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_seek",
        |caller: Caller<'_, Host>, fd: u32, _: i64, _: u32, _: u32| {
            no_file(&caller, fd, Errno::SPIPE)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_tell",
        |caller: Caller<'_, Host>, fd: u32, _: u32| no_file(&caller, fd, Errno::SPIPE),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pread",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u64, _: u32| {
            no_file(&caller, fd, Errno::SPIPE)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_pwrite",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u64, _: u32| {
            no_file(&caller, fd, Errno::SPIPE)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_advise",
        |caller: Caller<'_, Host>, fd: u32, _: u64, _: u64, _: u32| {
            no_file(&caller, fd, Errno::SPIPE)
        },
    )?;
    Ok(())
}

/// What only files can do.
fn link_files(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_allocate",
        |caller: Caller<'_, Host>, fd: u32, _: u64, _: u64| no_file(&caller, fd, Errno::INVAL),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_datasync",
        |caller: Caller<'_, Host>, fd: u32| no_file(&caller, fd, Errno::INVAL),
    )?;
    linker.func_wrap(MODULE, "fd_sync", |caller: Caller<'_, Host>, fd: u32| {
        no_file(&caller, fd, Errno::INVAL)
    })?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_size",
        |caller: Caller<'_, Host>, fd: u32, _: u64| no_file(&caller, fd, Errno::INVAL),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_filestat_set_times",
        |caller: Caller<'_, Host>, fd: u32, _: u64, _: u64, _: u32| {
            no_file(&caller, fd, Errno::INVAL)
        },
    )?;
    Ok(())
}

/// What only directories can do. Asking for the first preopened directory is how every
/// toolchain starts; that there is none is an answer, not a denial.
fn link_directories(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_prestat_get",
        |caller: Caller<'_, Host>, fd: u32, _: u32| code(not_a_directory(&caller, fd)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_prestat_dir_name",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32| code(not_a_directory(&caller, fd)),
    )?;
    linker.func_wrap(
        MODULE,
        "fd_readdir",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u64, _: u32| {
            caller.data().shared.account.deny(Closed::Filesystem);
            code(not_a_directory(&caller, fd))
        },
    )?;
    Ok(())
}

fn not_a_directory(caller: &Caller<'_, Host>, fd: u32) -> Answer {
    caller.data().descriptors.get(fd).and(Err(Errno::NOTDIR))
}

/// `errno` where the descriptor is open: it is a stream, which can't do what is asked.
fn no_file(caller: &Caller<'_, Host>, fd: u32, errno: Errno) -> i32 {
    code(caller.data().descriptors.get(fd).and(Err(errno)))
}
