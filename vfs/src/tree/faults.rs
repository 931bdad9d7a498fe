//! A recount of everything, for tests: counters against what is there.

use std::collections::BTreeMap;

use super::Tree;
use super::directory::entry_cost;
use super::inode::{Content, Inode};
use super::slab::Ino;

/// What a recount found.
#[derive(Default)]
struct Recount {
    bytes: u64,
    inodes: u64,
    volumes: Vec<u64>,
    names: BTreeMap<Ino, u32>,
    faults: Vec<String>,
}

impl Tree {
    /// What does not hold; nothing in a sound tree.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut recount = Recount {
            volumes: vec![0; self.quota.volumes.len()],
            ..Recount::default()
        };
        for (ino, inode) in self.inodes.iter() {
            self.recount(&mut recount, ino, inode);
        }
        for (ino, inode) in self.inodes.iter() {
            recount.check_links(ino, inode, ino == self.root);
        }
        let kept: Vec<u64> = self.quota.volumes.iter().map(|it| it.bytes).collect();
        let counted = (recount.bytes, recount.inodes, recount.volumes);
        let kept = (self.quota.bytes, self.quota.inodes, kept);
        let mut faults = recount.faults;
        if kept != counted {
            faults.push(format!("counters are {kept:?}, a recount is {counted:?}"));
        }
        let budget = self.quota.budget;
        if kept.0 > budget.bytes || kept.1 > budget.inodes || kept.0 > self.quota.peak {
            faults.push(format!("{kept:?} is over the budget or the peak"));
        }
        faults
    }

    fn recount(&self, recount: &mut Recount, ino: Ino, inode: &Inode) {
        recount.add(inode.volume.index(), inode.cost());
        recount.inodes += u64::from(!inode.pinned);
        if let Content::File { size, blocks } = &inode.content
            && blocks.end() > *size
        {
            let end = blocks.end();
            recount.fault(ino, &format!("holds bytes up to {end} of {size}"));
        }
        let Some(directory) = inode.directory() else {
            return;
        };
        if inode.links == 0 && !directory.is_empty() {
            recount.fault(ino, "is removed, and not empty");
        }
        let mut below = 2;
        for entry in directory.iter() {
            let Some(child) = self.inodes.get(entry.ino) else {
                recount.fault(ino, "names what is not there");
                continue;
            };
            *recount.names.entry(entry.ino).or_default() += 1;
            if !child.pinned {
                recount.add(inode.volume.index(), entry_cost(&entry.name));
            }
            if child.volume != inode.volume && !child.pinned {
                recount.fault(entry.ino, "is on another mount than its directory");
            }
            if directory.find(&self.hasher, &entry.name) != Some((entry.place, entry.ino)) {
                recount.fault(entry.ino, "is not found by its name");
            }
            if let Some(child) = child.directory() {
                below += 1;
                if child.parent != ino {
                    recount.fault(entry.ino, "has another parent than its name");
                }
            }
        }
        if inode.links != 0 && inode.links != below {
            let links = inode.links;
            recount.fault(ino, &format!("counts {links} links, has {below}"));
        }
    }
}

impl Recount {
    fn add(&mut self, volume: usize, bytes: u64) {
        self.bytes += bytes;
        if let Some(volume) = self.volumes.get_mut(volume) {
            *volume += bytes;
        }
    }

    fn fault(&mut self, ino: Ino, what: &str) {
        self.faults.push(format!("inode {} {what}", ino.number()));
    }

    /// A name for every link; a directory has one, but for the root and removed ones.
    fn check_links(&mut self, ino: Ino, inode: &Inode, is_root: bool) {
        let names = self.names.get(&ino).copied().unwrap_or(0);
        let expected = match inode.directory() {
            Some(_) => u32::from(inode.links > 0 && !is_root),
            None => inode.links,
        };
        if names != expected {
            self.fault(ino, &format!("has {names} names, counts {expected}"));
        }
        if inode.links == 0 && inode.opens == 0 {
            self.fault(ino, "is of no use, and not freed");
        }
    }
}
