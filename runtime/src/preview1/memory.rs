//! The guest's memory: every access checked, every mistake a FAULT.

use agentvm_vfs::MAX_PATH_BYTES;
use wasmtime::{Caller, Extern};

use super::errno::Errno;
use crate::host::Host;

/// A guest's exported memory for the length of one host call.
pub(super) struct GuestMemory<'a>(&'a mut [u8]);

/// Splits a call into the guest's memory and the host's state.
pub(super) fn split<'a>(
    caller: &'a mut Caller<'_, Host>,
) -> Result<(GuestMemory<'a>, &'a mut Host), Errno> {
    let memory = match caller.data().memory {
        Some(memory) => memory,
        None => find(caller)?,
    };
    let (bytes, host) = memory.data_and_store_mut(caller);
    Ok((GuestMemory(bytes), host))
}

fn find(caller: &mut Caller<'_, Host>) -> Result<wasmtime::Memory, Errno> {
    let memory = caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .ok_or(Errno::FAULT)?;
    caller.data_mut().memory = Some(memory);
    Ok(memory)
}

impl GuestMemory<'_> {
    pub(super) fn slice(&self, at: u32, len: u32) -> Result<&[u8], Errno> {
        let (start, end) = range(at, len)?;
        self.0.get(start..end).ok_or(Errno::FAULT)
    }

    pub(super) fn slice_mut(&mut self, at: u32, len: u32) -> Result<&mut [u8], Errno> {
        let (start, end) = range(at, len)?;
        self.0.get_mut(start..end).ok_or(Errno::FAULT)
    }

    pub(super) fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Errno> {
        let len = u32::try_from(bytes.len())?;
        self.slice_mut(at, len)?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Errno> {
        self.write(at, &value.to_le_bytes())
    }

    pub(super) fn read_u32(&self, at: u32) -> Result<u32, Errno> {
        self.read(at).map(u32::from_le_bytes)
    }

    /// The path at `at`: it is looked at no further than a path can be long.
    pub(super) fn path(&self, at: u32, len: u32) -> Result<&str, Errno> {
        let bytes = self.slice(at, len)?;
        if bytes.len() > MAX_PATH_BYTES {
            return Err(Errno::NAMETOOLONG);
        }
        std::str::from_utf8(bytes).or(Err(Errno::ILSEQ))
    }

    pub(super) fn read<const N: usize>(&self, at: u32) -> Result<[u8; N], Errno> {
        let start = usize::try_from(at)?;
        let bytes = self.0.get(start..).and_then(|rest| rest.first_chunk::<N>());
        bytes.copied().ok_or(Errno::FAULT)
    }
}

fn range(at: u32, len: u32) -> Result<(usize, usize), Errno> {
    let start = usize::try_from(at)?;
    let len = usize::try_from(len)?;
    Ok((start, start.checked_add(len).ok_or(Errno::FAULT)?))
}

/// `at` plus `offset` within the 32 bits of a guest's address.
pub(super) fn offset(at: u32, offset: u32) -> Result<u32, Errno> {
    at.checked_add(offset).ok_or(Errno::FAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_lies_outside_is_a_fault() {
        let mut bytes = [7; 16];
        let mut memory = GuestMemory(&mut bytes);
        assert_eq!(memory.slice(0, 16), Ok(&[7; 16][..]));
        for (at, len) in [
            (0, 17),
            (16, 1),
            (17, 0),
            (u32::MAX, 1),
            (u32::MAX, u32::MAX),
            (1, 16),
        ] {
            assert_eq!(memory.slice(at, len), Err(Errno::FAULT), "{at}+{len}");
            assert_eq!(
                memory.slice_mut(at, len).map(drop),
                Err(Errno::FAULT),
                "{at}+{len}"
            );
        }
        assert_eq!(memory.slice(16, 0), Ok(&[][..]));
        assert_eq!(memory.read_u32(13), Err(Errno::FAULT));
        assert_eq!(memory.read_u32(u32::MAX), Err(Errno::FAULT));
        assert_eq!(memory.write_u64(9, 1), Err(Errno::FAULT));
        assert_eq!(memory.write_u64(8, 1), Ok(()));
        assert_eq!(offset(u32::MAX, 1), Err(Errno::FAULT));
    }

    #[test]
    fn a_path_is_utf8_and_not_too_long() {
        let mut bytes = vec![b'x'; MAX_PATH_BYTES + 1];
        bytes[..4].copy_from_slice(&[b'a', 0, 0xc0, 0xae]);
        let memory = GuestMemory(&mut bytes);
        assert_eq!(memory.path(0, 1), Ok("a"));
        assert_eq!(memory.path(1, 0), Ok(""));
        assert_eq!(memory.path(2, 2), Err(Errno::ILSEQ));
        assert_eq!(memory.path(0, 4_097), Err(Errno::NAMETOOLONG));
        assert_eq!(memory.path(0, 4_098), Err(Errno::FAULT));
        assert_eq!(memory.path(4, 4_093).map(str::len), Ok(4_093));
    }
}
