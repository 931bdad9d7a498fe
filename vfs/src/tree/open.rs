//! Opening what a path names, or making it.

use std::sync::Arc;

use super::Tree;
use super::blocks::Blocks;
use super::inode::Content;
use super::slab::Ino;
use super::walk::{Ending, Target};
use crate::guards::{self, Guard};
use crate::{Error, Follow, Kind, Open, Timestamp};

impl Tree {
    /// Opens without counting the reference: that is [`Tree::retain`].
    pub(crate) fn open(
        &mut self,
        base: Ino,
        path: &str,
        follow: Follow,
        how: Open,
        now: Timestamp,
    ) -> Result<Ino, Error> {
        if how.create && how.directory {
            return Err(Error::Invalid);
        }
        let ending = match (how.create, how.exclusive) {
            (true, true) => Ending::Create(Follow::No),
            (true, false) => Ending::Create(follow),
            (false, _) => Ending::Lookup(follow),
        };
        match self.target(base, path, ending)? {
            Target::Missing { directory, name } if how.create => {
                self.create_file(directory, &name, now)
            }
            Target::Missing { .. } => Err(Error::NoEntry),
            Target::Found { .. } if how.create && how.exclusive => Err(Error::Exists),
            Target::Found { ino } => {
                self.may_open(ino, how)?;
                if how.truncate {
                    self.set_size(ino, 0, now)?;
                }
                Ok(ino)
            }
        }
    }

    /// A new file is always readable: the flags only matter for what was there.
    fn create_file(&mut self, directory: Ino, name: &str, now: Timestamp) -> Result<Ino, Error> {
        self.living(directory)?;
        let content = Content::File {
            size: 0,
            blocks: Blocks::default(),
        };
        self.add(directory, name, content, now)
    }

    fn may_open(&self, ino: Ino, how: Open) -> Result<(), Error> {
        let inode = self.inode(ino)?;
        let changes = how.write || how.truncate;
        match inode.kind() {
            Kind::Directory if how.create || changes => return Err(Error::IsDirectory),
            Kind::File | Kind::Symlink if how.directory => return Err(Error::NotDirectory),
            Kind::Symlink => return Err(Error::Loop),
            Kind::Directory | Kind::File => {}
        }
        if changes {
            self.quota.writable(inode.volume)?;
        }
        if how.read {
            self.readable(ino)?;
        }
        Ok(())
    }

    /// Refuses what the file's mode does not let anyone read.
    pub(super) fn readable(&self, ino: Ino) -> Result<(), Error> {
        match &self.inode(ino)?.content {
            Content::Shared { readable, .. } if !readable && guards::is_on(Guard::ReadBit) => {
                Err(Error::Access)
            }
            Content::File { .. }
            | Content::Shared { .. }
            | Content::Directory(_)
            | Content::Symlink(_) => Ok(()),
        }
    }

    /// Refuses to put names into a directory that was removed.
    pub(super) fn living(&self, directory: Ino) -> Result<(), Error> {
        match self.inode(directory)?.links {
            0 => Err(Error::NoEntry),
            _ => Ok(()),
        }
    }
}

/// A file that the guest can't change.
pub(super) fn shared(data: &Arc<[u8]>, mode: u16) -> Content {
    Content::Shared {
        data: Arc::clone(data),
        readable: mode & 0o400 != 0,
    }
}
