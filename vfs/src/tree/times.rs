//! Times and link targets.

use super::Tree;
use super::inode::Content;
use super::slab::Ino;
use crate::{Error, SetTime, Timestamp};

impl Tree {
    pub(crate) fn set_times(
        &mut self,
        ino: Ino,
        accessed: SetTime,
        modified: SetTime,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.writable(ino)?;
        let inode = self.inode_mut(ino)?;
        inode.accessed = set(inode.accessed, accessed, now);
        inode.modified = set(inode.modified, modified, now);
        inode.changed = now;
        Ok(())
    }

    pub(crate) fn read_link(&self, ino: Ino) -> Result<String, Error> {
        match &self.inode(ino)?.content {
            Content::Symlink(target) => Ok(target.to_string()),
            Content::File { .. } | Content::Shared { .. } | Content::Directory(_) => {
                Err(Error::Invalid)
            }
        }
    }
}

fn set(old: Timestamp, to: SetTime, now: Timestamp) -> Timestamp {
    match to {
        SetTime::Keep => old,
        SetTime::Now => now,
        SetTime::At(time) => time,
    }
}
