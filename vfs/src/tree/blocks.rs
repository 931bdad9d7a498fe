//! The content of one file: blocks of up to 64 KiB, where something was written.

use std::collections::BTreeMap;

use crate::Error;

/// The most bytes of one block.
pub(crate) const BLOCK: usize = 65_536;
/// What a block beyond the first costs besides its bytes: its place in the map.
pub(crate) const BLOCK_COST: u64 = 64;
/// Bytes that are moved, or got from the host, in one step of work.
pub(crate) const STEP_BYTES: u64 = 512;
/// Bytes that are given back to the host in one step of work.
pub(crate) const FREED_STEP_BYTES: u64 = 4_096;
/// The least that is allocated.
const SMALLEST: usize = 64;
/// From this block on, one that follows a full one is allocated whole: it then wastes little.
const WHOLE_FROM: u32 = 4;

/// What was written of a file; the rest reads as zeros.
#[derive(Default)]
pub(crate) struct Blocks {
    first: Vec<u8>,
    #[expect(
        clippy::box_collection,
        reason = "most files are small, and a word smaller with it"
    )]
    rest: Option<Box<BTreeMap<u32, Vec<u8>>>>,
}

/// What a write did, and why it ended where it did.
#[derive(Default)]
pub(crate) struct Written {
    pub(crate) bytes: usize,
    pub(crate) grown: u64,
    pub(crate) steps: u64,
    pub(crate) stop: Option<Stop>,
}

/// What was written into one block.
struct Put {
    bytes: usize,
    grown: u64,
    /// Bytes that the host moved or had to get, besides those that were written.
    moved: u64,
}

/// Why a write ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// No room is left in a quota.
    Room,
    /// The host gave no memory.
    Host,
}

impl Blocks {
    /// Bytes that are held.
    pub(crate) fn held(&self) -> u64 {
        let rest = self.rest.iter().flat_map(|rest| rest.values());
        rest.fold(length(self.first.capacity()), |sum, block| {
            sum + length(block.capacity()) + BLOCK_COST
        })
    }

    /// How many blocks there are.
    pub(crate) fn count(&self) -> u64 {
        1 + self.rest.as_ref().map_or(0, |rest| length(rest.len()))
    }

    /// The end of the last byte that is held.
    pub(crate) fn end(&self) -> u64 {
        let last = self.rest.as_ref().and_then(|rest| rest.last_key_value());
        last.map_or(length(self.first.len()), |(index, block)| {
            u64::from(*index) * length(BLOCK) + length(block.len())
        })
    }

    fn block(&self, index: u32) -> Option<&Vec<u8>> {
        if index == 0 {
            return Some(&self.first);
        }
        self.rest.as_ref()?.get(&index)
    }

    /// Fills `buffer` with what is at `at`, and says how many blocks it looked at.
    pub(crate) fn read(&self, at: u64, buffer: &mut [u8]) -> u64 {
        let (mut done, mut blocks) = (0, 0);
        while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let (index, start) = place(at.saturating_add(length(done)));
            let wanted = rest.len().min(BLOCK - start);
            let (part, _) = rest.split_at_mut(wanted);
            let held = self.block(index).and_then(|block| block.get(start..));
            let held = held.unwrap_or_default();
            let (from, zeros) = part.split_at_mut(held.len().min(wanted));
            let (bytes, _) = held.split_at(from.len());
            from.copy_from_slice(bytes);
            zeros.fill(0);
            done += wanted;
            blocks += 1;
        }
        blocks
    }

    /// Writes what `room` more bytes allow.
    pub(crate) fn write(&mut self, at: u64, bytes: &[u8], room: u64) -> Written {
        let mut done = Written::default();
        while let Some(rest) = bytes.get(done.bytes..).filter(|rest| !rest.is_empty()) {
            let (index, start) = place(at.saturating_add(length(done.bytes)));
            let (part, _) = rest.split_at(rest.len().min(BLOCK - start));
            done.steps += 1;
            match self.put(index, start, part, room.saturating_sub(done.grown)) {
                Ok(put) => {
                    done.bytes += put.bytes;
                    done.grown += put.grown;
                    done.steps += put.moved / STEP_BYTES;
                    if put.bytes < part.len() {
                        done.stop = Some(Stop::Room);
                        break;
                    }
                }
                Err(stop) => {
                    done.stop = Some(stop);
                    break;
                }
            }
        }
        done
    }

    /// Writes into one block as much as fits.
    fn put(&mut self, index: u32, start: usize, part: &[u8], room: u64) -> Result<Put, Stop> {
        let have = self.block(index).map(Vec::capacity);
        let cost = if have.is_some() { 0 } else { BLOCK_COST };
        let have = have.unwrap_or(0);
        let room = room.checked_sub(cost).ok_or(Stop::Room)?;
        let affordable = have.saturating_add(usize::try_from(room).unwrap_or(BLOCK));
        let end = (start + part.len()).min(affordable);
        let (part, _) = part.split_at(end.checked_sub(start).ok_or(Stop::Room)?);
        if part.is_empty() {
            return Err(Stop::Room);
        }
        let capacity = if end <= have {
            have
        } else if self.follows_a_full_one(index) {
            BLOCK.min(affordable)
        } else {
            class(end).min(affordable)
        };
        self.in_block(index, |block| {
            let (held, gap) = (block.len(), start.saturating_sub(block.len()));
            grow(block, capacity)?;
            fill(block, start, part);
            let grown = length(block.capacity().saturating_sub(have));
            let copied = if grown > 0 { held } else { 0 };
            Ok(Put {
                bytes: part.len(),
                grown: grown + cost,
                moved: grown.saturating_add(length(copied.saturating_add(gap))),
            })
        })
    }

    fn follows_a_full_one(&self, index: u32) -> bool {
        let before = index.checked_sub(1).and_then(|before| self.block(before));
        index >= WHOLE_FROM && before.is_some_and(|block| block.len() == BLOCK)
    }

    /// Works on a block, which is made where there is none; a new one only stays on success.
    fn in_block<T>(
        &mut self,
        index: u32,
        work: impl FnOnce(&mut Vec<u8>) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        if index == 0 {
            return work(&mut self.first);
        }
        if let Some(block) = self.rest.as_mut().and_then(|rest| rest.get_mut(&index)) {
            return work(block);
        }
        let mut block = Vec::new();
        let result = work(&mut block)?;
        self.rest.get_or_insert_default().insert(index, block);
        Ok(result)
    }

    /// Frees what is at `size` and behind it, and says how much and how many blocks that was.
    pub(crate) fn cut(&mut self, size: u64) -> (u64, u64) {
        let (index, start) = place(size);
        let (mut freed, mut blocks) = (0, 1);
        if let Some(rest) = &mut self.rest {
            // All of a block goes where none of it is left.
            let kept = index.saturating_add(u32::from(start > 0 || index == 0));
            let behind = rest.split_off(&kept);
            blocks += length(behind.len());
            freed += behind
                .values()
                .fold(0, |sum, block| sum + length(block.capacity()) + BLOCK_COST);
        }
        if index == 0 {
            freed += shorten(&mut self.first, start);
        } else if let Some(block) = self.rest.as_mut().and_then(|rest| rest.get_mut(&index)) {
            freed += shorten(block, start);
        }
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
        (freed, blocks)
    }

    /// What it costs to have all of a range.
    pub(crate) fn cost_of(&self, from: u64, to: u64) -> u64 {
        ranges(from, to).fold(0, |sum, (index, end)| {
            let have = self.block(index).map(Vec::capacity);
            let cost = if have.is_some() { 0 } else { BLOCK_COST };
            sum + cost + length(end.saturating_sub(have.unwrap_or(0)))
        })
    }

    /// Makes all of a range be there, or changes nothing; says what it cost.
    pub(crate) fn allocate(&mut self, from: u64, to: u64) -> Result<u64, Error> {
        let mut made: Vec<(u32, Option<usize>)> = Vec::new();
        let mut grown = 0;
        for (index, end) in ranges(from, to) {
            let had = self.block(index).map(Vec::capacity);
            if had.is_some_and(|had| had >= end) {
                continue;
            }
            if self.in_block(index, |block| grow(block, end)).is_err() {
                self.undo(&made);
                return Err(Error::NoMemory);
            }
            let have = self.block(index).map_or(0, Vec::capacity);
            let cost = if had.is_some() { 0 } else { BLOCK_COST };
            grown += cost + length(have.saturating_sub(had.unwrap_or(0)));
            made.push((index, had));
        }
        Ok(grown)
    }

    fn undo(&mut self, made: &[(u32, Option<usize>)]) {
        for (index, had) in made {
            match (had, &mut self.rest) {
                (Some(had), _) if *index == 0 => self.first.shrink_to(*had),
                (Some(had), Some(rest)) => {
                    if let Some(block) = rest.get_mut(index) {
                        block.shrink_to(*had);
                    }
                }
                (None, Some(rest)) => {
                    rest.remove(index);
                }
                (_, None) => {}
            }
        }
    }
}

/// A count of bytes in memory, as files count them.
pub(crate) fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// In which block a byte is, and where there.
fn place(at: u64) -> (u32, usize) {
    let block = length(BLOCK);
    let index = u32::try_from(at / block).unwrap_or(u32::MAX);
    (index, usize::try_from(at % block).unwrap_or(0))
}

/// The blocks of a range, each with the end of the range in it.
fn ranges(from: u64, to: u64) -> impl Iterator<Item = (u32, usize)> {
    let (first, _) = place(from);
    let (last, end) = place(to.saturating_sub(1));
    (first..=last).map(move |index| (index, if index == last { end + 1 } else { BLOCK }))
}

/// The capacity for so many bytes: at most a quarter more.
fn class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 8).max(16);
    bytes.next_multiple_of(step).clamp(SMALLEST, BLOCK)
}

fn grow(block: &mut Vec<u8>, capacity: usize) -> Result<(), Stop> {
    if capacity <= block.capacity() {
        return Ok(());
    }
    let more = capacity.saturating_sub(block.len());
    block.try_reserve_exact(more).map_err(|_full| Stop::Host)
}

/// Writes within a block's capacity.
fn fill(block: &mut Vec<u8>, start: usize, part: &[u8]) {
    if block.len() < start {
        block.resize(start, 0);
    }
    let over = block.get_mut(start..).unwrap_or_default();
    let (replaced, added) = part.split_at(part.len().min(over.len()));
    let (over, _) = over.split_at_mut(replaced.len());
    over.copy_from_slice(replaced);
    block.extend_from_slice(added);
}

/// Cuts a block, and says how much that freed.
fn shorten(block: &mut Vec<u8>, bytes: usize) -> u64 {
    let before = block.capacity();
    block.truncate(bytes);
    if bytes == 0 {
        *block = Vec::new();
    } else if before > class(bytes) {
        block.shrink_to(class(bytes));
    }
    length(before.saturating_sub(block.capacity()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_wastes_at_most_a_quarter() {
        for bytes in SMALLEST..=BLOCK {
            let capacity = class(bytes);
            assert!(capacity >= bytes && capacity <= BLOCK, "{bytes}");
            assert!(
                capacity - bytes <= bytes / 4 + 15,
                "{bytes} takes {capacity}"
            );
        }
        assert_eq!(class(1), SMALLEST);
        assert_eq!(class(1_024), 1_024);
    }

    #[test]
    fn what_a_write_says_it_grew_is_what_is_held_then() {
        let (mut blocks, mut held) = (Blocks::default(), 0);
        for number in 0..2_000_u64 {
            let at = number * 7_919 % 1_000_000;
            let bytes = vec![1; usize::try_from(number % 3_000).unwrap() + 1];
            held += blocks.write(at, &bytes, u64::MAX).grown;
            if number % 10 == 0 {
                held -= blocks.cut(at + number).0;
            }
            if number % 17 == 0 {
                let cost = blocks.cost_of(at, at + 70_000);
                let grown = blocks.allocate(at, at + 70_000).unwrap();
                assert_eq!(cost, grown);
                held += grown;
            }
            assert_eq!(blocks.held(), held);
        }
    }

    #[test]
    fn a_file_written_from_its_start_wastes_little() {
        for size in [1_000, 70_000, 200_000, 300_000, 1_000_000, 10_000_000] {
            let mut blocks = Blocks::default();
            let mut at = 0;
            while at < size {
                at += length(blocks.write(at, &[1; 500], u64::MAX).bytes);
            }
            assert!(blocks.held() <= at + at / 4 + 64, "{at}: {}", blocks.held());
        }
    }
}
