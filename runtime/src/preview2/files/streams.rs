//! Streams over open files: every call copies at most 64 KiB, at once, and is paid for.

use std::sync::Arc;

use agentvm_vfs::{Error, Filesystem};
use bytes::Bytes;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use super::handles::Opened;
use crate::budget::Budget;
use crate::charge::fuel_for_files;
use crate::clocks::Clocks;
use crate::guards::{Guard, is_on};
use crate::host::Host;
use crate::stdio::MAX_WRITE_BYTES;

/// The most bytes that one call reads, whatever it asks for.
const MAX_READ_BYTES: usize = MAX_WRITE_BYTES;

/// Reads as many bytes as are asked for and there, up to the bound; nothing is held for what is
/// behind the end.
pub(super) fn read(opened: &Opened, offset: u64, asked: usize) -> Result<Vec<u8>, Error> {
    let there = opened.node.metadata().size.saturating_sub(offset);
    let there = usize::try_from(there).unwrap_or(usize::MAX);
    let mut bytes = vec![0; wanted(asked).min(there)];
    let read = opened.node.read_at(offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// How much of what is asked for one call reads.
pub(super) fn wanted(asked: usize) -> usize {
    if is_on(Guard::FileReadBound) {
        asked.min(MAX_READ_BYTES)
    } else {
        asked
    }
}

/// What a stream needs of its VM.
struct Vm {
    filesystem: Filesystem,
    budget: Arc<Budget>,
    clocks: Clocks,
}

impl Vm {
    fn of(host: &Host) -> Self {
        Self {
            filesystem: host.filesystem.clone(),
            budget: Arc::clone(&host.shared.budget),
            clocks: host.clocks,
        }
    }

    fn charge(&self, bytes: usize) {
        self.budget
            .fuel
            .owe(fuel_for_files(&self.filesystem, bytes));
    }
}

/// Reads on from an offset.
pub(super) struct Reader {
    vm: Vm,
    opened: Arc<Opened>,
    offset: u64,
    closed: bool,
}

impl Reader {
    pub(super) fn new(host: &Host, opened: Arc<Opened>, offset: u64) -> Self {
        Self {
            vm: Vm::of(host),
            opened,
            offset,
            closed: false,
        }
    }
}

impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        if size == 0 {
            return Ok(Bytes::new());
        }
        let read = read(&self.opened, self.offset, size);
        self.vm.charge(read.as_ref().map_or(0, Vec::len));
        match read {
            Ok(bytes) if bytes.is_empty() => Err(StreamError::Closed),
            Ok(bytes) => {
                self.offset = self.offset.saturating_add(length(&bytes));
                Ok(bytes.into())
            }
            Err(error) => {
                self.closed = true;
                Err(failed(error))
            }
        }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

/// Where a stream writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// On from an offset.
    At(u64),
    /// At the end, wherever that is by then.
    End,
}

/// Writes on from a place. What fails is told once, and closes it.
pub(super) struct Writer {
    vm: Vm,
    opened: Arc<Opened>,
    place: Place,
    closed: bool,
}

impl Writer {
    pub(super) fn new(host: &Host, opened: Arc<Opened>, place: Place) -> Self {
        Self {
            vm: Vm::of(host),
            opened,
            place,
            closed: false,
        }
    }

    fn write_some(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        let now = self.vm.clocks.realtime_ns();
        let node = &self.opened.node;
        match &mut self.place {
            Place::At(offset) => {
                let written = node.write_at(*offset, bytes, now)?;
                *offset = offset.saturating_add(u64::try_from(written).unwrap_or(u64::MAX));
                Ok(written)
            }
            Place::End => node.append(bytes, now).map(|(written, _)| written),
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let written = self.write_some(bytes)?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }
}

impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        if bytes.len() > MAX_WRITE_BYTES {
            return Err(StreamError::trap("wrote more than check-write allows"));
        }
        let written = self.write_all(&bytes);
        self.vm.charge(bytes.len());
        written.map_err(|error| {
            self.closed = true;
            failed(error)
        })
    }

    fn flush(&mut self) -> StreamResult<()> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        if self.closed {
            return Err(StreamError::Closed);
        }
        Ok(MAX_WRITE_BYTES)
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

/// What `filesystem-error-code` finds the error's code in.
fn failed(error: Error) -> StreamError {
    StreamError::LastOperationFailed(error.into())
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
