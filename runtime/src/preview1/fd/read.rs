//! Reading stdin, which waits until it is closed and then says that the end is reached, and
//! reading files and answers.

use std::sync::Arc;

use wasmtime::Caller;

use super::transfer::{Piece, Place, Transfer};
use crate::host::Host;
use crate::preview1::descriptors::{Descriptor, OpenFile, Stream};
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::http;
use crate::preview1::iovec;
use crate::preview1::memory::{GuestMemory, split};

/// What a call reads from.
enum Input {
    Stdin { nonblocking: bool },
    Exchange,
    File,
}

pub(super) async fn read(caller: &mut Caller<'_, Host>, call: Transfer) -> wasmtime::Result<i32> {
    match input(caller.data(), &call) {
        Ok(Input::File) => call.run(caller).await,
        Ok(Input::Exchange) => Ok(code(http::read(caller, call.buffers()).await)),
        Ok(Input::Stdin { nonblocking }) => Ok(code(stdin(caller, &call, nonblocking).await)),
        Err(errno) => Ok(errno.number()),
    }
}

fn input(host: &Host, call: &Transfer) -> Result<Input, Errno> {
    match (host.descriptors.get(call.fd)?, call.place) {
        (Descriptor::Stream { .. } | Descriptor::Exchange(_), Place::Offset(_)) => {
            Err(Errno::SPIPE)
        }
        (Descriptor::Exchange(_), Place::Position) => Ok(Input::Exchange),
        (
            Descriptor::Stream {
                stream: Stream::Stdin,
                nonblocking,
            },
            Place::Position,
        ) => Ok(Input::Stdin {
            nonblocking: *nonblocking,
        }),
        (Descriptor::File(file), _) if file.readable => Ok(Input::File),
        (Descriptor::Stream { .. }, Place::Position) | (Descriptor::File(_), _) => Err(Errno::BADF),
        (Descriptor::Directory(_), _) => Err(Errno::ISDIR),
    }
}

pub(super) fn step(
    memory: &mut GuestMemory<'_>,
    _: &Host,
    file: &OpenFile,
    piece: Piece,
) -> Result<(usize, u64), Errno> {
    let buffer = memory.slice_mut(piece.at, piece.len)?;
    let read = file.node.read_at(piece.position, buffer)?;
    let moved = u64::try_from(read)?;
    Ok((read, piece.position.saturating_add(moved)))
}

async fn stdin(caller: &mut Caller<'_, Host>, call: &Transfer, nonblocking: bool) -> Answer {
    caller.data().charge_bytes(iovec::list_bytes(call.count));
    let wanted = iovec::total(&split(caller)?.0, call.list, call.count)?;
    let shared = Arc::clone(&caller.data().shared);
    if wanted > 0 && !shared.stdin.is_open() {
        if nonblocking {
            return Err(Errno::AGAIN);
        }
        shared.stdin.opened().await;
    }
    split(caller)?.0.write_u32(call.done_at, 0)
}
