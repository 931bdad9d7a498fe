//! Hard and symbolic links.

use wasmtime::{Caller, Linker};

use super::{Path, directory, follow, with, with_two};
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::errno::{Answer, code};
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_link",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         lookup: u32,
         at: u32,
         len: u32,
         to_dir: u32,
         to_at: u32,
         to_len: u32| {
            let from = Path { dir, at, len };
            let to = Path {
                dir: to_dir,
                at: to_at,
                len: to_len,
            };
            code(hard_link(&mut caller, from, lookup, to))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_symlink",
        |mut caller: Caller<'_, Host>,
         target: u32,
         target_len: u32,
         dir: u32,
         at: u32,
         len: u32| {
            let path = Path { dir, at, len };
            code(symlink(&mut caller, (target, target_len), path))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "path_readlink",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         at: u32,
         len: u32,
         buffer: u32,
         room: u32,
         used: u32| {
            let path = Path { dir, at, len };
            code(read_link(&mut caller, path, (buffer, room), used))
        },
    )?;
    Ok(())
}

fn hard_link(caller: &mut Caller<'_, Host>, from: Path, lookup: u32, to: Path) -> Answer {
    directory(caller.data(), from.dir)?;
    let follow = follow(lookup)?;
    with_two(caller, from, to, |(dir, path), (to, to_path), now| {
        dir.link(path, follow, to, to_path, now)
    })
}

/// The target is held to what a path can be, and means nothing until it is used.
fn symlink(caller: &mut Caller<'_, Host>, (at, len): (u32, u32), path: Path) -> Answer {
    let (memory, host) = split(caller)?;
    let dir = directory(host, path.dir)?;
    let target = memory.path(at, len)?;
    let name = memory.path(path.at, path.len)?;
    let result = dir.symlink(target, name, host.now());
    host.charge_files(target.len() + name.len());
    Ok(result?)
}

/// A target that the buffer has no room for is cut.
fn read_link(
    caller: &mut Caller<'_, Host>,
    path: Path,
    (at, len): (u32, u32),
    used_at: u32,
) -> Answer {
    let target = with(caller, path, |dir, path, _| dir.read_link_of(path))?;
    let (mut memory, host) = split(caller)?;
    host.charge_bytes(target.len());
    let room = usize::try_from(len)?;
    let part = target.as_bytes();
    let part = part.get(..room).unwrap_or(part);
    memory.write(at, part)?;
    memory.write_u32(used_at, u32::try_from(part.len())?)
}
