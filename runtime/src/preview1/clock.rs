//! Clocks: real time, time since the VM's start, and processor time, all coarse.

use wasmtime::{Caller, Linker};

use super::MODULE;
use super::errno::{Answer, Errno, code};
use super::memory::split;
use crate::host::Host;

/// A clock that guests can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    Realtime,
    Monotonic,
    /// Of the process and of its one thread alike.
    Processor,
}

impl Clock {
    pub(super) fn from_id(id: u32) -> Result<Self, Errno> {
        match id {
            0 => Ok(Self::Realtime),
            1 => Ok(Self::Monotonic),
            2 | 3 => Ok(Self::Processor),
            _ => Err(Errno::INVAL),
        }
    }

    pub(super) fn now_ns(self, host: &Host) -> u64 {
        match self {
            Self::Realtime => host.clocks.realtime_ns(),
            Self::Monotonic => host.clocks.monotonic_ns(),
            Self::Processor => host.clocks.coarse(host.shared.budget.cpu.used()),
        }
    }
}

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "clock_res_get",
        |mut caller: Caller<'_, Host>, id: u32, at: u32| code(resolution(&mut caller, id, at)),
    )?;
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |mut caller: Caller<'_, Host>, id: u32, _precision: u64, at: u32| {
            code(time(&mut caller, id, at))
        },
    )?;
    Ok(())
}

fn resolution(caller: &mut Caller<'_, Host>, id: u32, at: u32) -> Answer {
    Clock::from_id(id)?;
    let (mut memory, host) = split(caller)?;
    memory.write_u64(at, host.clocks.step_ns())
}

fn time(caller: &mut Caller<'_, Host>, id: u32, at: u32) -> Answer {
    let clock = Clock::from_id(id)?;
    let (mut memory, host) = split(caller)?;
    memory.write_u64(at, clock.now_ns(host))
}
