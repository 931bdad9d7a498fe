//! Sockets: there are none, and preview1 has no call that makes one.

use wasmtime::{Caller, Linker};

use super::MODULE;
use super::errno::{Errno, code};
use crate::budget::Closed;
use crate::host::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "sock_accept",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32| refuse(&caller, fd),
    )?;
    linker.func_wrap(
        MODULE,
        "sock_recv",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u32, _: u32, _: u32| {
            refuse(&caller, fd)
        },
    )?;
    linker.func_wrap(
        MODULE,
        "sock_send",
        |caller: Caller<'_, Host>, fd: u32, _: u32, _: u32, _: u32, _: u32| refuse(&caller, fd),
    )?;
    linker.func_wrap(
        MODULE,
        "sock_shutdown",
        |caller: Caller<'_, Host>, fd: u32, _: u32| refuse(&caller, fd),
    )?;
    Ok(())
}

fn refuse(caller: &Caller<'_, Host>, fd: u32) -> i32 {
    let host = caller.data();
    host.shared.budget.denials.add(Closed::Sockets);
    code(host.descriptors.get(fd).and(Err(Errno::NOTSOCK)))
}
