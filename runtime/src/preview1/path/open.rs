//! Opening what a path names.

use agentvm_vfs::{Kind, Node, Open};
use wasmtime::{Caller, Linker};

use super::{Path, directory, follow, with};
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::{Descriptor, OpenDirectory, OpenFile};
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::fd::known_flags;
use crate::preview1::memory::split;
use crate::preview1::rights;

const CREATE: u32 = 1;
const DIRECTORY: u32 = 1 << 1;
const EXCLUSIVE: u32 = 1 << 2;
const TRUNCATE: u32 = 1 << 3;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_open",
        |mut caller: Caller<'_, Host>,
         dir: u32,
         lookup: u32,
         at: u32,
         len: u32,
         how: u32,
         base: u64,
         _inheriting: u64,
         flags: u32,
         fd_at: u32| {
            let path = Path { dir, at, len };
            let asked = Asked {
                lookup,
                how,
                base,
                flags,
            };
            code(open(&mut caller, path, asked, fd_at))
        },
    )?;
    Ok(())
}

/// How a guest wants to have a path opened.
#[derive(Clone, Copy, Debug)]
struct Asked {
    lookup: u32,
    how: u32,
    /// The rights it asks for, of which those to read and to write make a difference.
    base: u64,
    flags: u32,
}

/// Whether there is room for one more, and for its number, is seen to before anything is
/// created.
fn open(caller: &mut Caller<'_, Host>, path: Path, asked: Asked, fd_at: u32) -> Answer {
    let (memory, host) = split(caller)?;
    directory(host, path.dir)?;
    let follow = follow(asked.lookup)?;
    let how = how(asked)?;
    let flags = known_flags(asked.flags)?;
    memory.slice(fd_at, 4)?;
    host.descriptors.take_room()?;
    let opened = with(caller, path, |dir, path, now| {
        dir.open(path, follow, how, now)
    });
    let (mut memory, host) = split(caller)?;
    let node = opened.inspect_err(|_| host.descriptors.give_room_back())?;
    let fd = host.descriptors.open(descriptor(node, how, flags))?;
    memory.write_u32(fd_at, fd)
}

/// A file is not made where a directory is asked for.
fn how(asked: Asked) -> Result<Open, Errno> {
    let is = |flag| asked.how & flag != 0;
    if asked.how & !(CREATE | DIRECTORY | EXCLUSIVE | TRUNCATE) != 0 {
        return Err(Errno::INVAL);
    }
    if is(DIRECTORY) && is(CREATE | TRUNCATE) {
        return Err(Errno::INVAL);
    }
    Ok(Open {
        create: is(CREATE),
        exclusive: is(EXCLUSIVE),
        directory: is(DIRECTORY),
        truncate: is(TRUNCATE),
        write: asked.base & rights::FD_WRITE != 0,
        read: asked.base & rights::FD_READ != 0,
    })
}

fn descriptor(node: Node, how: Open, flags: u16) -> Descriptor {
    match node.kind() {
        Kind::Directory => Descriptor::Directory(OpenDirectory {
            node,
            is_preopen: false,
            flags,
        }),
        Kind::File | Kind::Symlink => Descriptor::File(OpenFile {
            node,
            position: 0,
            readable: how.read,
            writable: how.write,
            flags,
        }),
    }
}
