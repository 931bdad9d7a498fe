//! Reading, writing, cutting and extending files.

use super::Tree;
use super::blocks::{BLOCK, Blocks, FREED_STEP_BYTES, STEP_BYTES, Stop, length};
use super::inode::Content;
use super::slab::Ino;
use crate::{Error, Timestamp};

/// Steps of moving one block elsewhere.
const BLOCK_STEPS: u64 = 128;

impl Tree {
    pub(crate) fn read(&mut self, ino: Ino, at: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.readable(ino)?;
        let (read, blocks) = match &self.inode(ino)?.content {
            Content::Directory(_) => return Err(Error::IsDirectory),
            Content::Symlink(_) => return Err(Error::Invalid),
            Content::File { size, blocks } => {
                let part = within(buffer, size.saturating_sub(at));
                let looked_at = blocks.read(at, part);
                (part.len(), looked_at)
            }
            Content::Shared { data, .. } => {
                let from = usize::try_from(at).ok();
                let data = from.and_then(|from| data.get(from..)).unwrap_or_default();
                let part = within(buffer, length(data.len()));
                let (data, _) = data.split_at(part.len());
                part.copy_from_slice(data);
                (part.len(), 1)
            }
        };
        self.step(blocks);
        Ok(read)
    }

    /// Writes as much as there is room for, at least one byte.
    pub(crate) fn write(
        &mut self,
        ino: Ino,
        at: u64,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<usize, Error> {
        let volume = self.writable(ino)?;
        self.file(ino)?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let most = self.quota.largest_file(volume).saturating_sub(at);
        if most == 0 {
            return Err(Error::FileTooLarge);
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let (bytes, _) = bytes.split_at(bytes.len().min(most));
        let (room, refusal) = self.quota.room(volume);
        let (size, blocks) = self.file(ino)?;
        let written = blocks.write(at, bytes, room);
        if written.bytes > 0 {
            *size = (*size).max(at.saturating_add(length(written.bytes)));
            self.inode_mut(ino)?.touch(now);
        }
        self.quota.take(volume, written.grown, 0);
        self.step(written.steps);
        match written.stop {
            Some(Stop::Room) if written.bytes == 0 => Err(refusal),
            Some(Stop::Host) if written.bytes == 0 => Err(Error::NoMemory),
            Some(_) | None => Ok(written.bytes),
        }
    }

    /// Writes at the end, and says where the end is then.
    pub(crate) fn append(
        &mut self,
        ino: Ino,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<(usize, u64), Error> {
        let end = self.inode(ino)?.content.size();
        let written = self.write(ino, end, bytes, now)?;
        Ok((written, end.saturating_add(length(written))))
    }

    pub(crate) fn set_size(&mut self, ino: Ino, to: u64, now: Timestamp) -> Result<(), Error> {
        let volume = self.writable(ino)?;
        let largest = self.quota.largest_file(volume);
        let (size, blocks) = self.file(ino)?;
        if to > *size && to > largest {
            return Err(Error::FileTooLarge);
        }
        let mut steps = 0;
        if to < *size {
            let (freed, cut) = blocks.cut(to);
            steps = cut + freed / FREED_STEP_BYTES + BLOCK_STEPS;
            self.quota.give_back(volume, freed, 0);
        }
        let (size, _) = self.file(ino)?;
        *size = to;
        self.inode_mut(ino)?.touch(now);
        self.step(steps);
        Ok(())
    }

    /// Makes a range be there and paid for, or changes nothing.
    pub(crate) fn allocate(
        &mut self,
        ino: Ino,
        at: u64,
        bytes: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let volume = self.writable(ino)?;
        self.file(ino)?;
        if bytes == 0 {
            return Err(Error::Invalid);
        }
        let end = at.checked_add(bytes).ok_or(Error::FileTooLarge)?;
        if end > self.quota.largest_file(volume) {
            return Err(Error::FileTooLarge);
        }
        let (_, blocks) = self.file(ino)?;
        let needed = blocks.cost_of(at, end);
        self.step(bytes / length(BLOCK) + 1);
        self.quota.check(volume, needed, 0)?;
        let (size, blocks) = self.file(ino)?;
        let grown = blocks.allocate(at, end)?;
        *size = (*size).max(end);
        self.quota.take(volume, grown, 0);
        self.inode_mut(ino)?.touch(now);
        self.step(grown / STEP_BYTES);
        Ok(())
    }

    /// Size and content of a file that can be written.
    fn file(&mut self, ino: Ino) -> Result<(&mut u64, &mut Blocks), Error> {
        match &mut self.inode_mut(ino)?.content {
            Content::File { size, blocks } => Ok((size, blocks)),
            Content::Shared { .. } => Err(Error::ReadOnly),
            Content::Directory(_) => Err(Error::IsDirectory),
            Content::Symlink(_) => Err(Error::Invalid),
        }
    }
}

/// The part of a buffer that so many bytes fill.
fn within(buffer: &mut [u8], left: u64) -> &mut [u8] {
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    let (part, _) = buffer.split_at_mut(left.min(buffer.len()));
    part
}
