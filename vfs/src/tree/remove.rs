//! Removing names.

use super::Tree;
use super::directory::{Place, entry_cost};
use super::slab::Ino;
use super::walk::Last;
use crate::guards::{self, Guard};
use crate::{Error, Kind, Timestamp};

impl Tree {
    pub(crate) fn unlink(&mut self, base: Ino, path: &str, now: Timestamp) -> Result<(), Error> {
        let parent = self.parent(base, path)?;
        let Last::Name(name) = &parent.last else {
            return Err(Error::IsDirectory);
        };
        self.writable(parent.directory)?;
        let (place, ino) = self.find(parent.directory, name)?.ok_or(Error::NoEntry)?;
        if self.inode(ino)?.kind() == Kind::Directory {
            return Err(Error::IsDirectory);
        }
        if parent.slash {
            return Err(Error::NotDirectory);
        }
        self.remove_name(parent.directory, place, now)
    }

    pub(crate) fn remove_directory(
        &mut self,
        base: Ino,
        path: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let parent = self.parent(base, path)?;
        let name = match &parent.last {
            Last::Name(name) => name,
            Last::Dot => return Err(Error::Invalid),
            Last::DotDot => return Err(Error::NotEmpty),
        };
        self.writable(parent.directory)?;
        let (place, ino) = self.find(parent.directory, name)?.ok_or(Error::NoEntry)?;
        if self.inode(ino)?.kind() != Kind::Directory {
            return Err(Error::NotDirectory);
        }
        self.may_move(ino)?;
        if !self.directory(ino)?.is_empty() {
            return Err(Error::NotEmpty);
        }
        self.remove_name(parent.directory, place, now)
    }

    /// Refuses what is a mount point or leads to one.
    pub(super) fn may_move(&self, ino: Ino) -> Result<(), Error> {
        if self.inode(ino)?.pinned && guards::is_on(Guard::MountPoint) {
            return Err(Error::Busy);
        }
        Ok(())
    }

    /// Removes a name, and what it named where that was the last use.
    pub(super) fn remove_name(
        &mut self,
        directory: Ino,
        place: Place,
        now: Timestamp,
    ) -> Result<(), Error> {
        let removed = self.directory_mut(directory)?.remove(place);
        let entry = removed.ok_or(Error::NoEntry)?;
        let inode = self.inode(entry.ino)?;
        let (is_directory, pinned) = (inode.kind() == Kind::Directory, inode.pinned);
        let above = self.inode_mut(directory)?;
        above.links = above.links.saturating_sub(u32::from(is_directory));
        above.touch(now);
        let volume = above.volume;
        if !pinned {
            self.quota.give_back(volume, entry_cost(&entry.name), 0);
        }
        self.drop_name(entry.ino, now)
    }
}
