//! The end of a process, and letting others run.

use wasmtime::{Caller, Linker};
use wasmtime_wasi::I32Exit;

use super::MODULE;
use super::errno::{Errno, code};
use crate::budget::Closed;
use crate::host::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "proc_exit", |_: Caller<'_, Host>, status: i32| {
        wasmtime::Result::<()>::Err(I32Exit(status).into())
    })?;
    linker.func_wrap(
        MODULE,
        "proc_raise",
        |caller: Caller<'_, Host>, _signal: u32| {
            caller.data().shared.budget.denials.add(Closed::Process);
            code(Err(Errno::NOSYS))
        },
    )?;
    linker.func_wrap_async(MODULE, "sched_yield", |_: Caller<'_, Host>, (): ()| {
        Box::new(async {
            tokio::task::yield_now().await;
            code(Ok(()))
        })
    })?;
    Ok(())
}
