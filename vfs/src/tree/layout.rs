//! How mounts are laid out: their roots, and the directories that lead to them.

use std::collections::BTreeMap;
use std::hash::RandomState;

use super::files::{broken, depth, new_directory};
use super::inode::Inode;
use super::quota::{Quota, Volume, VolumeId};
use super::slab::{Ino, Slab};
use super::{Calls, Tree};
use crate::mount::canonical;
use crate::{Access, Budget, MAX_DEPTH, MAX_MOUNTS, Mount, MountError, Source, Timestamp};

/// A mount, as it is kept.
pub(crate) struct Mounted {
    pub(super) path: String,
    pub(super) root: Ino,
    /// The version of its files, where it has any.
    pub(super) version: Option<u64>,
}

impl Tree {
    pub(crate) fn new(
        budget: Budget,
        mounts: &[Mount],
        now: Timestamp,
    ) -> Result<Self, MountError> {
        let sorted = sorted(mounts)?;
        let mut tree = Self {
            inodes: Slab::default(),
            quota: Quota::new(budget),
            // Stands for the first inode until that is made.
            root: Ino::FIRST,
            hasher: RandomState::new(),
            mounts: Vec::new(),
            work: 0,
            calls: Calls::default(),
        };
        if !sorted.contains_key("/") {
            let skeleton = tree.quota.add(Volume {
                read_only: true,
                ..Volume::default()
            });
            tree.root = tree.pinned(tree.root, skeleton, now)?;
        }
        for mount in sorted.values() {
            tree.mount(mount, now)?;
        }
        for mount in sorted.values() {
            if let Source::Files(files) = &mount.source {
                tree.swap(&mount.path, files, now)?;
            }
        }
        Ok(tree)
    }

    fn mount(&mut self, mount: &Mount, now: Timestamp) -> Result<(), MountError> {
        let (max_bytes, version) = match &mount.source {
            Source::Empty { max_bytes } => (*max_bytes, None),
            Source::Files(_) => (None, Some(0)),
        };
        let volume = self.quota.add(Volume {
            max_bytes,
            read_only: mount.access == Access::ReadOnly || version.is_some(),
            bytes: 0,
        });
        let mut at = self.root;
        let mut names = mount.path.split('/').filter(|name| !name.is_empty());
        let last = names.next_back();
        for name in names {
            at = if let Some(found) = self.lookup(at, name) {
                found
            } else {
                let volume = self.inode(at).map_err(broken)?.volume;
                self.pin(at, name, volume, now)?
            };
        }
        let root = match last {
            Some(name) => self.pin(at, name, volume, now)?,
            None => self.pinned(self.root, volume, now)?,
        };
        if last.is_none() {
            self.root = root;
        }
        self.mounts.push(Mounted {
            path: mount.path.clone(),
            root,
            version,
        });
        Ok(())
    }

    fn lookup(&self, directory: Ino, name: &str) -> Option<Ino> {
        let found = self.find(directory, name).ok()?;
        found.map(|(_, ino)| ino)
    }

    /// The root of everything.
    fn pinned(&mut self, parent: Ino, volume: VolumeId, now: Timestamp) -> Result<Ino, MountError> {
        let inode = pinned(parent, volume, now);
        self.inodes.insert(inode).map_err(broken)
    }

    /// A directory that stays where it is, free of charge.
    fn pin(
        &mut self,
        parent: Ino,
        name: &str,
        volume: VolumeId,
        now: Timestamp,
    ) -> Result<Ino, MountError> {
        let inode = pinned(parent, volume, now);
        self.attach(parent, name, inode).map_err(broken)
    }
}

/// The mounts by path, so that each comes after those it lies in.
fn sorted(mounts: &[Mount]) -> Result<BTreeMap<&str, &Mount>, MountError> {
    if mounts.len() > MAX_MOUNTS {
        let count = mounts.len();
        return Err(MountError::TooMany { count });
    }
    let mut sorted = BTreeMap::new();
    for mount in mounts {
        let path = mount.path.clone();
        if !canonical(&path) || depth(&path) > MAX_DEPTH {
            return Err(MountError::Path { path });
        }
        if sorted.insert(mount.path.as_str(), mount).is_some() {
            return Err(MountError::Twice { path });
        }
    }
    Ok(sorted)
}

fn pinned(parent: Ino, volume: VolumeId, now: Timestamp) -> Inode {
    let mut inode = Inode::new(new_directory(parent), volume, now);
    inode.pinned = true;
    inode
}
