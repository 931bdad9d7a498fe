//! Bytes in sealed memory: once sealed, nobody can change them, whoever holds the descriptor.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use agentvm_cell_api::warden::ModuleKind;
use rustix::fs::{MemfdFlags, SealFlags};

/// How much is read at once.
const CHUNK_BYTES: usize = agentvm_policy::budget::CODE_READ_BYTES.usize();

/// An anonymous file that can still be written.
#[derive(Debug)]
pub(super) struct Draft(File);

/// An anonymous file that can never be written again.
#[derive(Debug)]
pub(super) struct Sealed {
    file: File,
    bytes: u64,
}

/// Compiled code, ready to be handed to cells.
#[derive(Debug)]
pub(super) struct Code {
    /// What was compiled.
    pub(super) kind: ModuleKind,
    /// The code.
    pub(super) sealed: Sealed,
}

impl Draft {
    /// An empty file; `name` shows in `/proc` only.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Ok(Self(rustix::fs::memfd_create(name, flags)?.into()))
    }

    /// Appends to the file.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// Ends writing. Fails where somebody still has the file mapped for writing.
    pub(super) fn seal(self) -> io::Result<Sealed> {
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&self.0, seals)?;
        let bytes = self.0.metadata()?.len();
        Ok(Sealed {
            file: self.0,
            bytes,
        })
    }
}

impl AsFd for Draft {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Sealed {
    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same bytes under a position of their own, for a process that reads them.
    pub(super) fn reopen(&self) -> io::Result<File> {
        File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Gives every byte to `sink`, in order, without moving the file's position.
    pub(super) fn read(&self, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        while offset < self.bytes {
            let read = self.file.read_at(&mut chunk, offset)?;
            let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
                return Err(io::ErrorKind::UnexpectedEof.into());
            };
            sink(piece)?;
            offset += u64::try_from(read).unwrap_or(u64::MAX);
        }
        Ok(())
    }
}

impl AsFd for Sealed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_bytes_can_be_read_and_not_written() {
        let mut draft = Draft::new("test").unwrap();
        draft.write_all(b"plover").unwrap();
        let sealed = draft.seal().unwrap();
        let mut read = Vec::new();
        sealed
            .read(|piece| {
                read.extend_from_slice(piece);
                Ok(())
            })
            .unwrap();
        assert_eq!(read, b"plover");
        let written = sealed.file.write_at(b"x", 0);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(sealed.file.set_len(1).is_err());
    }
}
