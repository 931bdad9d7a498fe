//! Making directories, links and further names of files.

use super::Tree;
use super::directory::{Directory, entry_cost};
use super::inode::Content;
use super::slab::Ino;
use super::walk::{Last, Parent};
use crate::guards::{self, Guard};
use crate::{Error, Follow, Kind, MAX_DEPTH, MAX_LINKS, MAX_PATH_BYTES, Timestamp};

/// Whether a slash may follow a name that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slash {
    Allowed,
    Refused,
}

impl Tree {
    pub(crate) fn create_directory(
        &mut self,
        base: Ino,
        path: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let parent = self.parent(base, path)?;
        let name = self.new_name(&parent, Slash::Allowed)?;
        self.writable(parent.directory)?;
        let depth = self.depth(parent.directory)? + 1;
        may_nest(depth)?;
        let content = Content::Directory(Box::new(Directory::new(parent.directory)));
        self.add(parent.directory, name, content, now)?;
        Ok(())
    }

    pub(crate) fn symlink(
        &mut self,
        target: &str,
        base: Ino,
        path: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        if target.is_empty() {
            return Err(Error::NoEntry);
        }
        if target.len() > MAX_PATH_BYTES && guards::is_on(Guard::TargetCounts) {
            return Err(Error::NameTooLong);
        }
        if target.contains('\0') {
            return Err(Error::Invalid);
        }
        let parent = self.parent(base, path)?;
        let name = self.new_name(&parent, Slash::Refused)?;
        let content = Content::Symlink(target.into());
        self.add(parent.directory, name, content, now)?;
        Ok(())
    }

    pub(crate) fn link(
        &mut self,
        from: (Ino, &str, Follow),
        to: (Ino, &str),
        now: Timestamp,
    ) -> Result<(), Error> {
        let ino = self.existing(from.0, from.1, from.2)?;
        let parent = self.parent(to.0, to.1)?;
        let name = self.new_name(&parent, Slash::Refused)?;
        let volume = self.writable(parent.directory)?;
        let inode = self.inode(ino)?;
        if inode.volume != volume && guards::is_on(Guard::CrossMount) {
            return Err(Error::CrossDevice);
        }
        if inode.kind() == Kind::Directory {
            return Err(Error::NotPermitted);
        }
        if inode.links >= MAX_LINKS && guards::is_on(Guard::LinkCap) {
            return Err(Error::TooManyLinks);
        }
        self.quota.check(volume, entry_cost(name), 0)?;
        let directory = self.directory(parent.directory)?;
        let place = directory.room_for(&self.hasher, name)?;
        self.directory_mut(parent.directory)?
            .insert(place, name.into(), ino);
        self.quota.take(volume, entry_cost(name), 0);
        self.inode_mut(parent.directory)?.touch(now);
        let inode = self.inode_mut(ino)?;
        inode.links += 1;
        inode.changed = now;
        Ok(())
    }

    /// The name to be made: one that is not there yet, in a directory that can be changed.
    ///
    /// In Linux' order: taken, then a slash, then removed, then read-only.
    fn new_name<'n>(&mut self, parent: &'n Parent<'_>, slash: Slash) -> Result<&'n str, Error> {
        let Last::Name(name) = &parent.last else {
            return Err(Error::Exists);
        };
        self.step(1);
        if self.find(parent.directory, name)?.is_some() {
            return Err(Error::Exists);
        }
        if parent.slash && slash == Slash::Refused {
            return Err(Error::NoEntry);
        }
        self.living(parent.directory)?;
        self.writable(parent.directory)?;
        Ok(name)
    }

    /// How deep a directory is below the root.
    pub(super) fn depth(&mut self, directory: Ino) -> Result<usize, Error> {
        let (mut at, mut depth) = (directory, 0);
        while at != self.root && depth <= MAX_DEPTH {
            at = self.directory(at)?.parent;
            depth += 1;
        }
        self.step(u64::try_from(depth / 16).unwrap_or(0));
        Ok(depth)
    }
}

/// Refuses what would be too deep.
pub(super) fn may_nest(depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH && guards::is_on(Guard::Depth) {
        return Err(Error::NameTooLong);
    }
    Ok(())
}
