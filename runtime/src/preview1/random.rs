//! Random bytes: all that are asked for, paid for and interruptible chunk by chunk.

use rand::RngCore;
use wasmtime::{AsContextMut, Caller, Linker};

use super::MODULE;
use super::errno::{Answer, code};
use super::memory::{offset, split};
use crate::charge::settle;
use crate::host::Host;

/// Bytes between two moments at which the guest pays and can be stopped.
const CHUNK_BYTES: u32 = agentvm_policy::budget::CHUNK_BYTES.u32();

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "random_get",
        |mut caller: Caller<'_, Host>, (at, len): (u32, u32)| {
            Box::new(async move { fill(&mut caller, at, len).await })
        },
    )?;
    Ok(())
}

async fn fill(caller: &mut Caller<'_, Host>, at: u32, len: u32) -> wasmtime::Result<i32> {
    if let Err(fault) = check(caller, at, len) {
        return Ok(fault.number());
    }
    let mut done = 0;
    while done < len {
        let part = CHUNK_BYTES.min(len - done);
        let answer = fill_chunk(caller, at, done, part);
        if answer.is_err() {
            return Ok(code(answer));
        }
        done += part;
        settle(&mut caller.as_context_mut()).await?;
    }
    Ok(0)
}

fn check(caller: &mut Caller<'_, Host>, at: u32, len: u32) -> Answer {
    let (memory, _) = split(caller)?;
    memory.slice(at, len).map(drop)
}

fn fill_chunk(caller: &mut Caller<'_, Host>, at: u32, done: u32, part: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let chunk = memory.slice_mut(offset(at, done)?, part)?;
    host.charge_bytes(chunk.len());
    host.random.fill_bytes(chunk);
    Ok(())
}
