//! Renaming, as Linux does it.

use super::Tree;
use super::create::may_nest;
use super::directory::{Place, entry_cost};
use super::slab::Ino;
use super::walk::Last;
use crate::guards::{self, Guard};
use crate::{Error, Kind, Timestamp};

/// A name in a directory.
struct At<'n> {
    directory: Ino,
    name: &'n str,
    slash: bool,
}

/// A rename that nothing speaks against.
struct Permit<'n> {
    from: (Ino, Place),
    to: (Ino, &'n str),
    ino: Ino,
    replaced: Option<(Place, Ino)>,
}

impl Tree {
    pub(crate) fn rename(
        &mut self,
        from: (Ino, &str),
        to: (Ino, &str),
        now: Timestamp,
    ) -> Result<(), Error> {
        let (old, new) = (self.parent(from.0, from.1)?, self.parent(to.0, to.1)?);
        let volumes = [old.directory, new.directory].map(|at| self.inode(at).map(|it| it.volume));
        if volumes.first() != volumes.last() && guards::is_on(Guard::CrossMount) {
            return Err(Error::CrossDevice);
        }
        let (Last::Name(old_name), Last::Name(new_name)) = (&old.last, &new.last) else {
            return Err(Error::Busy);
        };
        // Both are on one mount.
        self.writable(old.directory)?;
        let (from, to) = (
            At {
                directory: old.directory,
                name: old_name,
                slash: old.slash,
            },
            At {
                directory: new.directory,
                name: new_name,
                slash: new.slash,
            },
        );
        match self.may_rename(&from, &to)? {
            Some(permit) => self.perform(&permit, now),
            None => Ok(()),
        }
    }

    /// Decides; none where both names are the same inode, which is left as it is.
    fn may_rename<'n>(&mut self, from: &At<'_>, to: &At<'n>) -> Result<Option<Permit<'n>>, Error> {
        self.step(2);
        let (place, ino) = self
            .find(from.directory, from.name)?
            .ok_or(Error::NoEntry)?;
        self.living(to.directory)?;
        let replaced = self.find(to.directory, to.name)?;
        let is_directory = self.inode(ino)?.kind() == Kind::Directory;
        if !is_directory && (from.slash || to.slash) {
            return Err(Error::NotDirectory);
        }
        if is_directory && self.is_in(to.directory, ino)? && guards::is_on(Guard::RenameBelowItself)
        {
            return Err(Error::Invalid);
        }
        if let Some((_, replaced)) = replaced {
            if replaced == ino {
                return Ok(None);
            }
            self.may_replace(replaced, is_directory, from.directory)?;
        }
        self.may_move(ino)?;
        if is_directory && from.directory != to.directory {
            self.may_deepen(ino, from.directory, to.directory)?;
        }
        let new = if replaced.is_some() {
            0
        } else {
            entry_cost(to.name)
        };
        let more = new.saturating_sub(entry_cost(from.name));
        let volume = self.inode(to.directory)?.volume;
        self.quota.check(volume, more, 0)?;
        Ok(Some(Permit {
            from: (from.directory, place),
            to: (to.directory, to.name),
            ino,
            replaced,
        }))
    }

    /// Refuses to replace what is of another kind, not empty, or mounted.
    fn may_replace(&mut self, ino: Ino, by_directory: bool, source: Ino) -> Result<(), Error> {
        let is_directory = self.inode(ino)?.kind() == Kind::Directory;
        if is_directory && self.is_in(source, ino)? {
            return Err(Error::NotEmpty);
        }
        match (by_directory, is_directory) {
            (true, false) => return Err(Error::NotDirectory),
            (false, true) => return Err(Error::IsDirectory),
            (true, true) | (false, false) => {}
        }
        self.may_move(ino)?;
        if is_directory && !self.directory(ino)?.is_empty() {
            return Err(Error::NotEmpty);
        }
        Ok(())
    }

    /// Whether a directory is another one, or below it.
    fn is_in(&mut self, directory: Ino, other: Ino) -> Result<bool, Error> {
        let (mut at, mut steps) = (directory, 0);
        while at != other && at != self.root {
            at = self.directory(at)?.parent;
            steps += 1;
        }
        self.step(steps / 16);
        Ok(at == other)
    }

    /// Refuses a move that would nest what is in a directory too deep.
    fn may_deepen(&mut self, ino: Ino, from: Ino, to: Ino) -> Result<(), Error> {
        let (from, to) = (self.depth(from)?, self.depth(to)?);
        if to <= from {
            return Ok(());
        }
        may_nest(to + 1)?;
        let (mut level, mut depth, mut steps) = (vec![ino], to + 1, 0);
        while !level.is_empty() {
            let mut below = Vec::new();
            for directory in level {
                // Directories alone make a tree deeper, and the link count tells whether any is here.
                steps += 1;
                if self.inode(directory)?.links <= 2 {
                    continue;
                }
                for entry in self.directory(directory)?.iter() {
                    steps += 1;
                    if self.inode(entry.ino)?.kind() == Kind::Directory {
                        below.push(entry.ino);
                    }
                }
            }
            if !below.is_empty() {
                depth += 1;
            }
            level = below;
        }
        self.step(steps);
        may_nest(depth)
    }

    fn perform(&mut self, permit: &Permit<'_>, now: Timestamp) -> Result<(), Error> {
        let Permit {
            from: (source, place),
            to: (target, name),
            ino,
            replaced,
        } = *permit;
        if let Some((_, replaced)) = replaced {
            // Counts while it is still under its name.
            let is_directory = self.inode(replaced)?.kind() == Kind::Directory;
            let above = self.inode_mut(target)?;
            above.links = above.links.saturating_sub(u32::from(is_directory));
        }
        let new_place = match replaced {
            Some((place, _)) => place,
            None => self.directory(target)?.room_for(&self.hasher, name)?,
        };
        let removed = self.directory_mut(source)?.remove(place);
        let old = removed.ok_or(Error::NoEntry)?;
        let (source_volume, target_volume) =
            (self.inode(source)?.volume, self.inode(target)?.volume);
        self.quota
            .give_back(source_volume, entry_cost(&old.name), 0);
        let directory = self.directory_mut(target)?;
        if replaced.is_some() {
            directory.replace(new_place, ino);
        } else {
            directory.insert(new_place, name.into(), ino);
            self.quota.take(target_volume, entry_cost(name), 0);
        }
        self.reparent(ino, source, target, now)?;
        match replaced {
            Some((_, replaced)) => self.drop_name(replaced, now),
            None => Ok(()),
        }
    }

    fn reparent(
        &mut self,
        ino: Ino,
        source: Ino,
        target: Ino,
        now: Timestamp,
    ) -> Result<(), Error> {
        let inode = self.inode_mut(ino)?;
        inode.changed = now;
        let moved = match inode.directory_mut() {
            Some(directory) => {
                directory.parent = target;
                1
            }
            None => 0,
        };
        let above = self.inode_mut(source)?;
        above.links = above.links.saturating_sub(moved);
        above.touch(now);
        let above = self.inode_mut(target)?;
        above.links = above.links.saturating_add(moved);
        above.touch(now);
        Ok(())
    }
}
