//! Moves bytes between a guest's buffers and a file, once, and pausing in between.

use wasmtime::{AsContextMut, Caller, Linker};

use super::{read, write};
use crate::charge::settle;
use crate::guards::{Guard, is_on};
use crate::host::Host;
use crate::preview1::MODULE;
use crate::preview1::descriptors::OpenFile;
use crate::preview1::errno::{Errno, code};
use crate::preview1::iovec::{Buffers, MAX_BUFFERS, entry, list_bytes, total};
use crate::preview1::memory::{GuestMemory, offset, split};

/// Bytes between two moments at which the guest pays and can be stopped.
const CHUNK_BYTES: u32 = agentvm_policy::budget::CHUNK_BYTES.u32();
/// The most bytes of one call; Linux has the same limit.
const MAX_BYTES: u32 = agentvm_policy::budget::TRANSFER_BYTES.u32();

/// Links the calls that move bytes, at the descriptor's position and at an offset.
pub(super) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    for (name, direction) in [("fd_read", Direction::Read), ("fd_write", Direction::Write)] {
        linker.func_wrap_async(
            MODULE,
            name,
            move |mut caller: Caller<'_, Host>,
                  (fd, list, count, done_at): (u32, u32, u32, u32)| {
                let call = direction.call(fd, list, count, done_at, Place::Position);
                Box::new(async move { direction.run(&mut caller, call).await })
            },
        )?;
    }
    for (name, direction) in [
        ("fd_pread", Direction::Read),
        ("fd_pwrite", Direction::Write),
    ] {
        linker.func_wrap_async(
            MODULE,
            name,
            move |mut caller: Caller<'_, Host>,
                  (fd, list, count, offset, done_at): (u32, u32, u32, u64, u32)| {
                let call = direction.call(fd, list, count, done_at, Place::Offset(offset));
                Box::new(async move { direction.run(&mut caller, call).await })
            },
        )?;
    }
    Ok(())
}

/// Where the bytes go, seen from the guest.
#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl Direction {
    fn call(self, fd: u32, list: u32, count: u32, done_at: u32, place: Place) -> Transfer {
        Transfer {
            fd,
            list,
            count,
            done_at,
            place,
            step: match self {
                Self::Read => read::step,
                Self::Write => write::step,
            },
        }
    }

    async fn run(self, caller: &mut Caller<'_, Host>, call: Transfer) -> wasmtime::Result<i32> {
        match self {
            Self::Read => read::read(caller, call).await,
            Self::Write => write::write(caller, call).await,
        }
    }
}

/// One read or write of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    pub(super) fd: u32,
    /// The guest's list of buffers.
    pub(super) list: u32,
    pub(super) count: u32,
    /// Where it wants to know how many bytes were moved.
    pub(super) done_at: u32,
    pub(super) place: Place,
    /// Moves one piece.
    pub(super) step: Step,
}

/// Where in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the descriptor's position, which moves along.
    Position,
    /// Here; the position stays.
    Offset(u64),
}

/// Moves up to `len` bytes between the guest's memory at `at` and the file at `position`, and
/// says how many that were and where the next ones go.
pub(super) type Step = fn(
    memory: &mut GuestMemory<'_>,
    host: &Host,
    file: &OpenFile,
    piece: Piece,
) -> Result<(usize, u64), Errno>;

/// A part of one of the guest's buffers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) at: u32,
    pub(super) len: u32,
    /// Where in the file.
    pub(super) position: u64,
}

/// How far it has come.
struct Progress {
    done: u32,
    /// Bytes since the guest last paid.
    unsettled: u32,
    position: u64,
}

impl Transfer {
    /// The call without where in a file.
    pub(super) fn buffers(&self) -> Buffers {
        Buffers {
            fd: self.fd,
            list: self.list,
            count: self.count,
            done_at: self.done_at,
        }
    }

    /// Goes on until the buffers or the file end, or an error: what was moved before an error
    /// is success.
    pub(super) async fn run(self, caller: &mut Caller<'_, Host>) -> wasmtime::Result<i32> {
        let mut progress = match self.begin(caller) {
            Ok(progress) => progress,
            Err(errno) => return Ok(errno.number()),
        };
        for index in 0..self.count.min(MAX_BUFFERS) {
            let answer = self.buffer(caller, index, &mut progress).await?;
            match answer {
                Ok(true) => (),
                Err(errno) if progress.done == 0 => return Ok(errno.number()),
                Ok(false) | Err(_) => break,
            }
        }
        Ok(code(self.finish(caller, &progress)))
    }

    /// Checks everything that can be checked before a byte is moved.
    fn begin(&self, caller: &mut Caller<'_, Host>) -> Result<Progress, Errno> {
        let (mut memory, host) = split(caller)?;
        host.charge_bytes(list_bytes(self.count));
        total(&memory, self.list, self.count)?;
        memory.write_u32(self.done_at, 0)?;
        let position = match self.place {
            Place::Position => host.descriptors.file(self.fd)?.position,
            Place::Offset(offset) if i64::try_from(offset).is_ok() => offset,
            Place::Offset(_) => return Err(Errno::INVAL),
        };
        Ok(Progress {
            done: 0,
            unsettled: 0,
            position,
        })
    }

    /// Moves one buffer; false where there is nothing more to move after it.
    async fn buffer(
        &self,
        caller: &mut Caller<'_, Host>,
        index: u32,
        progress: &mut Progress,
    ) -> wasmtime::Result<Result<bool, Errno>> {
        let (mut at, mut len) = match split(caller).and_then(|(m, _)| entry(&m, self.list, index)) {
            Ok(buffer) => buffer,
            Err(errno) => return Ok(Err(errno)),
        };
        while len > 0 {
            if progress.unsettled >= chunk_bytes() {
                progress.unsettled = 0;
                settle(&mut caller.as_context_mut()).await?;
            }
            let part = len.min(chunk_bytes()).min(MAX_BYTES - progress.done);
            let moved = match self.piece(caller, at, part, progress) {
                Ok(moved) => moved,
                Err(errno) => return Ok(Err(errno)),
            };
            if moved < part || progress.done == MAX_BYTES {
                return Ok(Ok(false));
            }
            at = at.saturating_add(moved); // the buffer lies inside of the memory
            len -= moved;
        }
        Ok(Ok(true))
    }

    fn piece(
        &self,
        caller: &mut Caller<'_, Host>,
        at: u32,
        len: u32,
        progress: &mut Progress,
    ) -> Result<u32, Errno> {
        let (mut memory, host) = split(caller)?;
        let file = host.descriptors.file(self.fd)?;
        let piece = Piece {
            at,
            len,
            position: progress.position,
        };
        let result = (self.step)(&mut memory, host, file, piece);
        host.charge_files(result.map_or(0, |(moved, _)| moved));
        let (moved, next) = result?;
        let moved = u32::try_from(moved)?;
        progress.position = next;
        progress.done = offset(progress.done, moved)?;
        progress.unsettled = progress.unsettled.saturating_add(moved);
        Ok(moved)
    }

    fn finish(&self, caller: &mut Caller<'_, Host>, progress: &Progress) -> Result<(), Errno> {
        let (mut memory, host) = split(caller)?;
        if self.place == Place::Position && progress.done > 0 {
            host.descriptors.file_mut(self.fd)?.position = progress.position;
        }
        memory.write_u32(self.done_at, progress.done)
    }
}

fn chunk_bytes() -> u32 {
    if is_on(Guard::FileChunks) {
        CHUNK_BYTES
    } else {
        u32::MAX
    }
}
