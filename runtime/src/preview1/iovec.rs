//! The lists of buffers that guests read into and write from.

use std::borrow::Cow;

use super::errno::Errno;
use super::memory::{GuestMemory, offset};
use crate::stdio::MAX_WRITE_BYTES;

/// The most buffers of one call that are looked at; POSIX's own limit is the same.
pub(super) const MAX_BUFFERS: u32 = agentvm_policy::budget::CALL_BUFFERS.u32();
/// Bytes of one entry: address and length.
const ENTRY_BYTES: u32 = 8;

/// What the host reads of a list of `count` buffers.
pub(super) fn list_bytes(count: u32) -> usize {
    usize::try_from(count.min(MAX_BUFFERS) * ENTRY_BYTES).unwrap_or_default()
}

/// The bytes of all buffers in order, cut to what one call may write.
///
/// # Errors
///
/// FAULT where the list, or a buffer up to the cut, lies outside of the guest's memory.
pub(super) fn gather<'a>(
    memory: &'a GuestMemory<'_>,
    list: u32,
    count: u32,
) -> Result<Cow<'a, [u8]>, Errno> {
    let mut gathered = Cow::Borrowed(&[][..]);
    for index in 0..count.min(MAX_BUFFERS) {
        let room = MAX_WRITE_BYTES.saturating_sub(gathered.len());
        if room == 0 {
            break;
        }
        let (at, len) = entry(memory, list, index)?;
        let buffer = memory.slice(at, len)?;
        let part = buffer.get(..room).unwrap_or(buffer);
        if gathered.is_empty() {
            gathered = Cow::Borrowed(part);
        } else if !part.is_empty() {
            gathered.to_mut().extend_from_slice(part);
        }
    }
    Ok(gathered)
}

/// What `fd_read` and `fd_write` are called with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    pub(super) fd: u32,
    /// The guest's list of buffers.
    pub(super) list: u32,
    pub(super) count: u32,
    /// Where it wants to know how many bytes were moved.
    pub(super) done_at: u32,
}

/// Spreads `bytes` over the buffers in order.
pub(super) fn scatter(
    memory: &mut GuestMemory<'_>,
    list: u32,
    count: u32,
    mut bytes: &[u8],
) -> Result<(), Errno> {
    for index in 0..count.min(MAX_BUFFERS) {
        if bytes.is_empty() {
            break;
        }
        let (at, len) = entry(memory, list, index)?;
        let part = bytes.len().min(usize::try_from(len)?);
        let (part, rest) = bytes.split_at(part);
        memory.write(at, part)?;
        bytes = rest;
    }
    Ok(())
}

/// Checks that every buffer lies inside of the guest's memory, and adds up their lengths.
pub(super) fn total(memory: &GuestMemory<'_>, list: u32, count: u32) -> Result<u64, Errno> {
    let mut total = 0;
    for index in 0..count.min(MAX_BUFFERS) {
        let (at, len) = entry(memory, list, index)?;
        memory.slice(at, len)?;
        total += u64::from(len);
    }
    Ok(total)
}

/// Where the buffer at `index` of a list lies, and how long it is.
pub(super) fn entry(memory: &GuestMemory<'_>, list: u32, index: u32) -> Result<(u32, u32), Errno> {
    let at = offset(list, index * ENTRY_BYTES)?;
    Ok((memory.read_u32(at)?, memory.read_u32(offset(at, 4)?)?))
}
