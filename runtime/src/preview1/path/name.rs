//! Making, removing and renaming what a path names.

use agentvm_vfs::{Error, Node, Timestamp};
use wasmtime::{Caller, Linker};

use super::{Path, with, with_two};
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::errno::code;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    let calls: [(&str, Call); 3] = [
        ("path_create_directory", Node::create_directory),
        ("path_remove_directory", Node::remove_directory),
        ("path_unlink_file", Node::unlink),
    ];
    for (name, call) in calls {
        linker.func_wrap(
            MODULE,
            name,
            move |mut caller: Caller<'_, Host>, dir: u32, at: u32, len: u32| {
                code(with(&mut caller, Path { dir, at, len }, call))
            },
        )?;
    }
    link_rename(linker)
}

/// A call that takes nothing but a path.
type Call = fn(&Node, &str, Timestamp) -> Result<(), Error>;

fn link_rename(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "path_rename",
        |mut caller: Caller<'_, Host>,
         dir: u32,
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
            code(with_two(
                &mut caller,
                from,
                to,
                |(dir, path), (to, to_path), now| dir.rename(path, to, to_path, now),
            ))
        },
    )?;
    Ok(())
}
