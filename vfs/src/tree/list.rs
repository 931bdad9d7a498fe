//! Listing a directory, from a cookie on.

use std::ops::ControlFlow;

use super::Tree;
use super::directory::Place;
use super::slab::Ino;
use crate::{Entry, Error, Kind};

impl Tree {
    /// Tells every entry after `cookie`; none of a directory that was removed.
    pub(crate) fn list(
        &mut self,
        ino: Ino,
        cookie: u64,
        each: &mut dyn FnMut(Entry<'_>) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let inode = self.inode(ino)?;
        let directory = inode.directory().ok_or(Error::NotDirectory)?;
        if inode.links == 0 {
            return Ok(());
        }
        for (at, name, ino) in [(0, ".", ino), (1, "..", directory.parent)] {
            let entry = Entry {
                name,
                kind: Kind::Directory,
                inode: ino.number(),
                next: at + 1,
            };
            if cookie <= at && each(entry).is_break() {
                return Ok(());
            }
        }
        let behind = match cookie {
            0..=2 => None,
            cookie => match Place::of_cookie(cookie) {
                Some(place) => Some(place),
                None => return Ok(()),
            },
        };
        let mut told = 0;
        for entry in directory.after(behind) {
            told += 1;
            let entry = Entry {
                name: &entry.name,
                kind: self.inode(entry.ino)?.kind(),
                inode: entry.ino.number(),
                next: entry.place.cookie(),
            };
            if each(entry).is_break() {
                break;
            }
        }
        self.step(told);
        Ok(())
    }
}
