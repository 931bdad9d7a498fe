//! All that one VM's filesystem is: inodes, their quotas, and how names lead to them.
//!
//! Each operation is a method in a file of its own below; it checks first, then changes, so that
//! what it refuses has changed nothing.

mod blocks;
mod bytes;
mod create;
mod directory;
mod entries;
mod faults;
mod files;
mod inode;
mod layout;
mod list;
mod name;
mod open;
mod quota;
mod remove;
mod rename;
mod slab;
mod times;
mod walk;

use std::hash::RandomState;

use self::blocks::FREED_STEP_BYTES;
use self::directory::{Directory, Place, entry_cost};
use self::inode::{Content, INODE_COST, Inode};
use self::layout::Mounted;
use self::quota::{Quota, VolumeId};
pub(crate) use self::slab::Ino;
use self::slab::Slab;
use crate::guards::{self, Guard};
use crate::{Budget, Error, Growth, Kind, Metadata, Timestamp, Usage};

/// All that one VM's filesystem is.
pub(crate) struct Tree {
    inodes: Slab,
    quota: Quota,
    root: Ino,
    hasher: RandomState,
    mounts: Vec<Mounted>,
    work: u64,
    /// Calls by how they ended.
    calls: Calls,
}

#[derive(Clone, Copy, Default)]
struct Calls {
    succeeded: u64,
    refused_by_quota: u64,
    refused_by_host: u64,
    errors: u64,
}

impl Tree {
    pub(crate) fn root(&self) -> Ino {
        self.root
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.mounts.is_empty()
    }

    /// One call, counted by how it ends.
    pub(crate) fn call<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.quota.refused_by_host = false;
        self.step(1);
        let result = work(self);
        let calls = &mut self.calls;
        let count = match &result {
            Ok(_) => &mut calls.succeeded,
            Err(Error::NoMemory) => &mut calls.refused_by_host,
            Err(Error::NoSpace) if self.quota.refused_by_host => &mut calls.refused_by_host,
            Err(Error::NoSpace | Error::Quota) => &mut calls.refused_by_quota,
            Err(_) => &mut calls.errors,
        };
        *count = count.saturating_add(1);
        result
    }

    pub(crate) fn usage(&self) -> Usage {
        let Calls {
            succeeded,
            refused_by_quota,
            refused_by_host,
            errors,
        } = self.calls;
        Usage {
            bytes: self.quota.bytes,
            inodes: self.quota.inodes,
            peak_bytes: self.quota.peak,
            operations: succeeded,
            refused_by_quota,
            refused_by_host,
            errors,
        }
    }

    pub(crate) fn budget(&self) -> Budget {
        self.quota.budget
    }

    pub(crate) fn set_growth(&mut self, growth: Growth) {
        self.quota.growth = growth;
    }

    pub(crate) fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    fn step(&mut self, steps: u64) {
        if guards::is_on(Guard::WorkCount) {
            self.work = self.work.saturating_add(steps);
        }
    }

    /// An inode that is named by an entry or a node: it is always there.
    fn inode(&self, ino: Ino) -> Result<&Inode, Error> {
        self.inodes.get(ino).ok_or(Error::NoEntry)
    }

    fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode, Error> {
        self.inodes.get_mut(ino).ok_or(Error::NoEntry)
    }

    fn directory(&self, ino: Ino) -> Result<&Directory, Error> {
        self.inode(ino)?.directory().ok_or(Error::NotDirectory)
    }

    fn directory_mut(&mut self, ino: Ino) -> Result<&mut Directory, Error> {
        let inode = self.inode_mut(ino)?;
        inode.directory_mut().ok_or(Error::NotDirectory)
    }

    fn find(&self, directory: Ino, name: &str) -> Result<Option<(Place, Ino)>, Error> {
        Ok(self.directory(directory)?.find(&self.hasher, name))
    }

    /// Refuses to add names to a directory that is read-only.
    fn writable(&self, ino: Ino) -> Result<VolumeId, Error> {
        let volume = self.inode(ino)?.volume;
        self.quota.writable(volume)?;
        Ok(volume)
    }

    pub(crate) fn kind(&self, ino: Ino) -> Kind {
        self.inodes.get(ino).map_or(Kind::Directory, Inode::kind)
    }

    pub(crate) fn metadata(&self, ino: Ino) -> Result<Metadata, Error> {
        let inode = self.inode(ino)?;
        Ok(Metadata {
            kind: inode.kind(),
            device: inode.volume.device(),
            inode: ino.number(),
            links: u64::from(inode.links),
            size: inode.content.size(),
            accessed: inode.accessed,
            modified: inode.modified,
            changed: inode.changed,
        })
    }

    pub(crate) fn retain(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(ino) {
            inode.opens = inode.opens.saturating_add(1);
        }
    }

    pub(crate) fn release(&mut self, ino: Ino) {
        if let Some(inode) = self.inodes.get_mut(ino) {
            inode.opens = inode.opens.saturating_sub(1);
            self.free_if_unused(ino);
        }
    }

    /// Frees what has no name and no node.
    fn free_if_unused(&mut self, ino: Ino) {
        let used = |inode: &Inode| inode.links > 0 || inode.opens > 0;
        if self.inodes.get(ino).is_none_or(used) {
            return;
        }
        if let Some(inode) = self.inodes.remove(ino) {
            if let Content::File { blocks, .. } = &inode.content {
                self.step(blocks.count() + blocks.held() / FREED_STEP_BYTES);
            }
            self.quota.give_back(inode.volume, inode.cost(), 1);
        }
    }

    /// Adds an inode under a new name: all of it or nothing.
    fn add(
        &mut self,
        parent: Ino,
        name: &str,
        content: Content,
        now: Timestamp,
    ) -> Result<Ino, Error> {
        let volume = self.writable(parent)?;
        let bytes = INODE_COST + content.held() + entry_cost(name);
        self.quota.check(volume, bytes, 1)?;
        let ino = self.attach(parent, name, Inode::new(content, volume, now))?;
        self.quota.take(volume, bytes, 1);
        self.inode_mut(parent)?.touch(now);
        Ok(ino)
    }

    /// Puts an inode under a new name, whatever it costs.
    fn attach(&mut self, parent: Ino, name: &str, inode: Inode) -> Result<Ino, Error> {
        let directory = self.directory(parent)?;
        let place = directory.room_for(&self.hasher, name)?;
        let is_directory = inode.kind() == Kind::Directory;
        let ino = self.inodes.insert(inode)?;
        let above = self.inode_mut(parent)?;
        above.links = above.links.saturating_add(u32::from(is_directory));
        if let Some(directory) = above.directory_mut() {
            directory.insert(place, name.into(), ino);
        }
        Ok(ino)
    }

    /// Takes one name away from an inode, and frees it where that was the last use.
    fn drop_name(&mut self, ino: Ino, now: Timestamp) -> Result<(), Error> {
        let inode = self.inode_mut(ino)?;
        inode.changed = now;
        inode.links = match inode.kind() {
            Kind::Directory => 0,
            Kind::File | Kind::Symlink => inode.links.saturating_sub(1),
        };
        let (unlinked, cost, volume) = (inode.links == 0, inode.cost(), inode.volume);
        if unlinked && !guards::is_on(Guard::UnlinkedCounts) {
            self.quota.give_back(volume, cost, 1);
        }
        self.free_if_unused(ino);
        Ok(())
    }
}
