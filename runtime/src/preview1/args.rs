//! Arguments and environment: exactly what the manifest declares.

use wasmtime::{Caller, Linker};

use super::MODULE;
use super::errno::{Answer, Errno, code};
use super::memory::{GuestMemory, offset, split};
use crate::host::Host;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "args_sizes_get",
        |mut caller: Caller<'_, Host>, count: u32, bytes: u32| {
            code(sizes(&mut caller, arguments, count, bytes))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "args_get",
        |mut caller: Caller<'_, Host>, list: u32, buffer: u32| {
            code(get(&mut caller, arguments, list, buffer))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_sizes_get",
        |mut caller: Caller<'_, Host>, count: u32, bytes: u32| {
            code(sizes(&mut caller, environment, count, bytes))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "environ_get",
        |mut caller: Caller<'_, Host>, list: u32, buffer: u32| {
            code(get(&mut caller, environment, list, buffer))
        },
    )?;
    Ok(())
}

/// The strings of one kind, without their closing zero.
type Strings = fn(&Host) -> Vec<Vec<u8>>;

fn arguments(host: &Host) -> Vec<Vec<u8>> {
    host.args
        .iter()
        .map(|arg| arg.as_bytes().to_vec())
        .collect()
}

fn environment(host: &Host) -> Vec<Vec<u8>> {
    host.env
        .iter()
        .map(|(name, value)| format!("{name}={value}").into_bytes())
        .collect()
}

fn sizes(caller: &mut Caller<'_, Host>, strings: Strings, count_at: u32, bytes_at: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let strings = strings(host);
    let bytes: usize = strings.iter().map(|string| string.len() + 1).sum();
    host.charge_bytes(bytes);
    memory.write_u32(count_at, u32::try_from(strings.len())?)?;
    memory.write_u32(bytes_at, u32::try_from(bytes)?)
}

fn get(caller: &mut Caller<'_, Host>, strings: Strings, list: u32, buffer: u32) -> Answer {
    let (mut memory, host) = split(caller)?;
    let (mut entry, mut at) = (list, buffer);
    for string in strings(host) {
        host.charge_bytes(string.len());
        memory.write_u32(entry, at)?;
        entry = offset(entry, 4)?;
        at = write_string(&mut memory, at, &string)?;
    }
    Ok(())
}

/// Writes `string` and its closing zero, and says where the next one goes.
fn write_string(memory: &mut GuestMemory<'_>, at: u32, string: &[u8]) -> Result<u32, Errno> {
    memory.write(at, string)?;
    let end = offset(at, u32::try_from(string.len())?)?;
    memory.write(end, &[0])?;
    offset(end, 1)
}
