//! The files of a `ConfigMap` or a Secret, laid out as the kubelet does it, and swapped in one step.

use std::collections::{BTreeMap, BTreeSet};

use super::Tree;
use super::blocks::length;
use super::directory::{Directory, entry_cost};
use super::inode::{Content, INODE_COST, Inode};
use super::open::shared;
use super::slab::Ino;
use crate::mount::canonical_file;
use crate::{Error, File, Files, Kind, MAX_DEPTH, MountError, Timestamp};

/// The link through which all files of a mount are reached.
const DATA: &str = "..data";

/// What is needed or freed.
#[derive(Clone, Copy, Default)]
struct Cost {
    bytes: u64,
    inodes: u64,
}

impl Tree {
    /// Gives a mount other files, in one step.
    pub(crate) fn swap(
        &mut self,
        path: &str,
        files: &Files,
        now: Timestamp,
    ) -> Result<(), MountError> {
        let found = self.mounts.iter_mut().find(|mount| mount.path == path);
        let Some((mount, version)) = found.and_then(|it| it.version.map(|version| (it, version)))
        else {
            let path = path.to_owned();
            return Err(MountError::NotFiles { path });
        };
        let (root, version) = (mount.root, version.wrapping_add(1));
        let directory = format!("..{version}");
        check_names(path, files)?;
        self.check_cover(path, files)?;
        self.check_room(path, root, &directory, files)?;
        self.clear(root, now).map_err(broken)?;
        self.lay_out(root, &directory, files, now).map_err(broken)?;
        for mount in &mut self.mounts {
            if mount.root == root {
                mount.version = Some(version);
            }
        }
        Ok(())
    }

    /// Refuses files whose names lead to a mount below.
    fn check_cover(&self, path: &str, files: &Files) -> Result<(), MountError> {
        let prefix = if path == "/" {
            "/"
        } else {
            &format!("{path}/")
        };
        for mount in &self.mounts {
            let below = mount.path.strip_prefix(prefix);
            let Some(name) = below.filter(|below| !below.is_empty()).map(first) else {
                continue;
            };
            if name.starts_with("..") || files.keys().any(|file| first(file) == name) {
                let path = mount.path.clone();
                return Err(MountError::Covered { path });
            }
        }
        Ok(())
    }

    /// Refuses what the budget has no room for, once the old files are gone.
    fn check_room(
        &mut self,
        path: &str,
        root: Ino,
        directory: &str,
        files: &Files,
    ) -> Result<(), MountError> {
        let needed = cost(directory, files);
        let freed = self.cost_below(root).map_err(broken)?;
        let (bytes, inodes) = (self.quota.bytes, self.quota.inodes);
        let budget = self.quota.budget;
        let left = budget
            .bytes
            .saturating_sub(bytes.saturating_sub(freed.bytes));
        let inodes_left = budget
            .inodes
            .saturating_sub(inodes.saturating_sub(freed.inodes));
        let fits = needed.bytes <= left && needed.inodes <= inodes_left;
        let count = usize::try_from(needed.inodes).unwrap_or(usize::MAX);
        if fits && self.inodes.reserve(count).is_ok() {
            return Ok(());
        }
        Err(MountError::NoSpace {
            path: path.to_owned(),
            needed: needed.bytes,
            inodes: needed.inodes,
            left,
            inodes_left,
        })
    }

    /// What would be freed if all below were removed, but for what is open.
    fn cost_below(&self, root: Ino) -> Result<Cost, Error> {
        let mut freed = Cost::default();
        let mut directories = vec![root];
        while let Some(directory) = directories.pop() {
            for entry in self.directory(directory)?.iter() {
                let inode = self.inode(entry.ino)?;
                if inode.pinned {
                    continue;
                }
                freed.bytes += entry_cost(&entry.name);
                if inode.opens == 0 {
                    freed.bytes += inode.cost();
                    freed.inodes += 1;
                }
                if inode.kind() == Kind::Directory {
                    directories.push(entry.ino);
                }
            }
        }
        Ok(freed)
    }

    /// Removes everything below but mounts and what leads to them.
    fn clear(&mut self, root: Ino, now: Timestamp) -> Result<(), Error> {
        let mut directories = vec![root];
        let mut at = 0;
        while let Some(directory) = directories.get(at).copied() {
            at += 1;
            for entry in self.directory(directory)?.iter() {
                let inode = self.inode(entry.ino)?;
                if inode.kind() == Kind::Directory && !inode.pinned {
                    directories.push(entry.ino);
                }
            }
        }
        // The deepest first, so that each is empty when its own name goes.
        for directory in directories.into_iter().rev() {
            let mut places = Vec::new();
            for entry in self.directory(directory)?.iter() {
                if !self.inode(entry.ino)?.pinned {
                    places.push(entry.place);
                }
            }
            for place in places {
                self.remove_name(directory, place, now)?;
            }
        }
        Ok(())
    }

    fn lay_out(
        &mut self,
        root: Ino,
        directory: &str,
        files: &Files,
        now: Timestamp,
    ) -> Result<(), Error> {
        let version = self.put(root, directory, new_directory(root), now)?;
        self.put(root, DATA, Content::Symlink(directory.into()), now)?;
        for (path, file) in files {
            let name = first(path);
            if self.find(root, name)?.is_none() {
                let target = format!("{DATA}/{name}");
                self.put(root, name, Content::Symlink(target.into()), now)?;
            }
            self.lay_out_file(version, path, file, now)?;
        }
        Ok(())
    }

    fn lay_out_file(
        &mut self,
        version: Ino,
        path: &str,
        file: &File,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let mut at = version;
        for name in above.split('/').filter(|name| !name.is_empty()) {
            at = match self.find(at, name)? {
                Some((_, found)) => found,
                None => self.put(at, name, new_directory(at), now)?,
            };
        }
        self.put(at, name, shared(&file.data, file.mode), now)?;
        Ok(())
    }

    /// Adds what was checked to fit.
    fn put(
        &mut self,
        parent: Ino,
        name: &str,
        content: Content,
        now: Timestamp,
    ) -> Result<Ino, Error> {
        let volume = self.inode(parent)?.volume;
        let bytes = INODE_COST + content.held() + entry_cost(name);
        let ino = self.attach(parent, name, Inode::new(content, volume, now))?;
        self.quota.take(volume, bytes, 1);
        Ok(ino)
    }
}

/// Refuses files whose paths are not canonical, lie below another file, or are too deep.
fn check_names(path: &str, files: &Files) -> Result<(), MountError> {
    for file in files.keys() {
        let mut above = file.as_str();
        let mut is_below_a_file = false;
        while let Some((parent, _)) = above.rsplit_once('/') {
            above = parent;
            is_below_a_file |= files.contains_key(above);
        }
        let too_deep = depth(path) + 1 + depth(file) > MAX_DEPTH;
        if !canonical_file(file) || is_below_a_file || too_deep {
            return Err(MountError::File {
                path: path.to_owned(),
                file: file.clone(),
            });
        }
    }
    Ok(())
}

/// What the files of a mount cost, with their links and directories.
fn cost(version: &str, files: &Files) -> Cost {
    let mut cost = Cost::default();
    let mut add = |name: &str, held: usize| {
        cost.bytes += INODE_COST + entry_cost(name) + length(held);
        cost.inodes += 1;
    };
    add(version, 0);
    add(DATA, version.len());
    let mut directories = BTreeSet::new();
    let mut links = BTreeMap::new();
    for (path, file) in files {
        let name = first(path);
        links.insert(name, DATA.len() + 1 + name.len());
        let mut above = path.as_str();
        let mut last = path.as_str();
        if let Some((parent, name)) = path.rsplit_once('/') {
            (above, last) = (parent, name);
            directories.insert(above);
        }
        while let Some((parent, _)) = above.rsplit_once('/') {
            above = parent;
            directories.insert(above);
        }
        add(last, file.data.len());
    }
    for (name, target) in links {
        add(name, target);
    }
    for path in directories {
        add(path.rsplit('/').next().unwrap_or(path), 0);
    }
    cost
}

pub(super) fn new_directory(parent: Ino) -> Content {
    Content::Directory(Box::new(Directory::new(parent)))
}

/// The first name of a relative path.
fn first(path: &str) -> &str {
    path.split('/').next().unwrap_or(path)
}

pub(super) fn depth(path: &str) -> usize {
    path.split('/').filter(|name| !name.is_empty()).count()
}

/// What was checked can't fail but for the host's memory.
pub(super) fn broken(_error: Error) -> MountError {
    MountError::NoSpace {
        path: String::new(),
        needed: 0,
        inodes: 0,
        left: 0,
        inodes_left: 0,
    }
}
