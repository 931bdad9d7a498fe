//! Writing stdout and stderr, at most 64 KiB a call, and writing files and requests.

use wasmtime::Caller;

use super::stat::APPEND;
use super::transfer::{Piece, Place, Transfer};
use super::unwritable;
use crate::host::Host;
use crate::preview1::descriptors::{Descriptor, OpenFile, Stream};
use crate::preview1::errno::{Answer, Errno, code};
use crate::preview1::http;
use crate::preview1::iovec;
use crate::preview1::memory::{GuestMemory, split};

/// What a call writes to.
enum Target {
    Stream(Stream),
    Exchange,
    File,
}

pub(super) async fn write(caller: &mut Caller<'_, Host>, call: Transfer) -> wasmtime::Result<i32> {
    match target(caller.data(), &call) {
        Ok(Target::File) => call.run(caller).await,
        Ok(Target::Exchange) => Ok(code(http::write(caller, call.buffers()).await)),
        Ok(Target::Stream(stream)) => Ok(code(output(caller, &call, stream))),
        Err(errno) => Ok(errno.number()),
    }
}

fn target(host: &Host, call: &Transfer) -> Result<Target, Errno> {
    match (host.descriptors.get(call.fd)?, call.place) {
        (Descriptor::Stream { .. } | Descriptor::Exchange(_), Place::Offset(_)) => {
            Err(Errno::SPIPE)
        }
        (Descriptor::Exchange(_), Place::Position) => Ok(Target::Exchange),
        (Descriptor::Stream { stream, .. }, Place::Position) => Ok(Target::Stream(*stream)),
        (Descriptor::File(file), _) if file.writable => Ok(Target::File),
        (descriptor @ (Descriptor::File(_) | Descriptor::Directory(_)), _) => {
            let node = descriptor.node().ok_or(Errno::BADF)?;
            Err(unwritable(host, node, Errno::BADF))
        }
    }
}

/// With APPEND, both calls write at the end, as on Linux.
pub(super) fn step(
    memory: &mut GuestMemory<'_>,
    host: &Host,
    file: &OpenFile,
    piece: Piece,
) -> Result<(usize, u64), Errno> {
    let bytes = memory.slice(piece.at, piece.len)?;
    if file.flags & APPEND != 0 {
        return Ok(file.node.append(bytes, host.now())?);
    }
    let written = file.node.write_at(piece.position, bytes, host.now())?;
    let moved = u64::try_from(written)?;
    Ok((written, piece.position.saturating_add(moved)))
}

fn output(caller: &mut Caller<'_, Host>, call: &Transfer, stream: Stream) -> Answer {
    let (mut memory, host) = split(caller)?;
    let output = match stream {
        Stream::Stdin => return Err(Errno::BADF),
        Stream::Stdout => &host.outputs.stdout,
        Stream::Stderr => &host.outputs.stderr,
    };
    memory.write_u32(call.done_at, 0)?;
    let bytes = iovec::gather(&memory, call.list, call.count)?;
    host.charge_bytes(bytes.len() + iovec::list_bytes(call.count));
    if !bytes.is_empty() {
        output.write(&bytes);
    }
    let written = u32::try_from(bytes.len())?;
    memory.write_u32(call.done_at, written)
}
