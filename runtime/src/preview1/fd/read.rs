//! Reading stdin: it waits until stdin is closed and then says that the end is reached.

use std::sync::Arc;

use wasmtime::{Caller, Linker};

use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::Stream;
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::iovec;
use crate::preview1::memory::split;

pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    linker.func_wrap_async(
        MODULE,
        "fd_read",
        |mut caller: Caller<'_, Host>, (fd, list, count, read_at): (u32, u32, u32, u32)| {
            Box::new(async move { code(read(&mut caller, fd, list, count, read_at).await) })
        },
    )?;
    Ok(())
}

async fn read(
    caller: &mut Caller<'_, Host>,
    fd: u32,
    list: u32,
    count: u32,
    read_at: u32,
) -> Answer {
    let descriptor = caller.data().descriptors.get(fd)?;
    if descriptor.stream != Stream::Stdin {
        return Err(Errno::BADF);
    }
    caller.data().charge_bytes(iovec::list_bytes(count));
    let wanted = iovec::total(&split(caller)?.0, list, count)?;
    let shared = Arc::clone(&caller.data().shared);
    if wanted > 0 && !shared.stdin.is_open() {
        if descriptor.nonblocking {
            return Err(Errno::AGAIN);
        }
        shared.stdin.opened().await;
    }
    split(caller)?.0.write_u32(read_at, 0)
}
