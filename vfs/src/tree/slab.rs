//! Where inodes are kept: by number, numbers of freed ones first.

use super::inode::Inode;
use crate::Error;

/// The number of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ino(u32);

impl Ino {
    /// The number that the first inode gets.
    pub(crate) const FIRST: Self = Self(0);

    /// As a guest sees it: never 0.
    pub(crate) fn number(self) -> u64 {
        u64::from(self.0) + 1
    }
}

/// All inodes of a VM.
#[derive(Default)]
pub(crate) struct Slab {
    slots: Vec<Option<Box<Inode>>>,
    free: Vec<u32>,
}

impl Slab {
    /// Makes room for so many, so that as many inserts can't fail.
    pub(crate) fn reserve(&mut self, inodes: usize) -> Result<(), Error> {
        let more = inodes.saturating_sub(self.free.len());
        if self.slots.capacity() - self.slots.len() >= more {
            return Ok(());
        }
        let more = more.max(self.slots.len() / 4 + 16);
        let grown = self.slots.try_reserve_exact(more);
        grown.map_err(|_full| Error::NoMemory)
    }

    pub(crate) fn insert(&mut self, inode: Inode) -> Result<Ino, Error> {
        self.reserve(1)?;
        let inode = Some(Box::new(inode));
        if let Some(number) = self.free.pop() {
            *self.slot(number)? = inode;
            return Ok(Ino(number));
        }
        let number = u32::try_from(self.slots.len());
        self.slots.push(inode);
        number.map(Ino).map_err(|_many| Error::NoSpace)
    }

    pub(crate) fn remove(&mut self, ino: Ino) -> Option<Box<Inode>> {
        let inode = self.slot(ino.0).ok()?.take()?;
        self.free.push(ino.0);
        Some(inode)
    }

    pub(crate) fn get(&self, ino: Ino) -> Option<&Inode> {
        let slot = self.slots.get(usize::try_from(ino.0).ok()?)?;
        slot.as_deref()
    }

    pub(crate) fn get_mut(&mut self, ino: Ino) -> Option<&mut Inode> {
        self.slot(ino.0).ok()?.as_deref_mut()
    }

    /// All of them, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ino, &Inode)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| {
            let inode = slot.as_deref()?;
            Some((Ino(number), inode))
        })
    }

    fn slot(&mut self, number: u32) -> Result<&mut Option<Box<Inode>>, Error> {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        self.slots.get_mut(number).ok_or(Error::NoEntry)
    }
}
