//! A walk through a VM's files, without recursion and a page of names at a time.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;

use agentvm_runtime::vfs::{self, Follow, Kind as NodeKind, Metadata, Node};

use super::{DIRECTORY, FILE, Pack, PackError};
use crate::archive::{Item, Kind, check_path};

/// Entries of a directory that are read at once.
const PAGE: usize = agentvm_policy::budget::ARCHIVE_ENTRIES.usize();

/// A walk through a tree, without recursion.
pub(super) struct Walk<'a> {
    pack: &'a Pack,
    /// Other mounts below are left out.
    device: u64,
    pub(super) frames: Vec<Frame>,
    /// First names of files that have several.
    first_names: BTreeMap<u64, String>,
}

/// A directory that is being read.
pub(super) struct Frame {
    path: String,
    node: Node,
    cookie: u64,
    page: VecDeque<String>,
    is_read: bool,
}

impl Frame {
    pub(super) fn new(path: String, node: Node) -> Self {
        Self {
            path,
            node,
            cookie: 0,
            page: VecDeque::new(),
            is_read: false,
        }
    }

    /// The next name in it.
    fn next(&mut self) -> Result<Option<String>, vfs::Error> {
        if self.page.is_empty() && !self.is_read {
            self.is_read = true;
            let (page, cookie, is_read) = (&mut self.page, &mut self.cookie, &mut self.is_read);
            self.node.read_dir(*cookie, &mut |entry| {
                *cookie = entry.next;
                if !matches!(entry.name, "." | "..") {
                    page.push_back(entry.name.to_owned());
                }
                if page.len() < PAGE {
                    return ControlFlow::Continue(());
                }
                *is_read = false;
                ControlFlow::Break(())
            })?;
        }
        Ok(self.page.pop_front())
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(pack: &'a Pack, device: u64) -> Self {
        Self {
            pack,
            device,
            frames: Vec::new(),
            first_names: BTreeMap::new(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<(Item, Option<Node>)>, PackError> {
        while let Some(frame) = self.frames.last_mut() {
            let (node, directory) = (frame.node.clone(), frame.path.clone());
            let name = frame.next().map_err(|error| PackError::Refused {
                path: directory.clone(),
                error,
            })?;
            let Some(name) = name else {
                self.frames.pop();
                continue;
            };
            if node
                .metadata_of(&name, Follow::No)
                .is_ok_and(|found| found.device != self.device)
            {
                continue;
            }
            let (item, file) = self.item(&node, directory, &name)?;
            if item.kind == Kind::Directory {
                let opened = self.pack.open(&node, &name, DIRECTORY);
                let opened = opened.map_err(|error| PackError::Refused {
                    path: item.path.clone(),
                    error,
                })?;
                self.frames.push(Frame::new(item.path.clone(), opened));
            }
            return Ok(Some((item, file)));
        }
        Ok(None)
    }

    /// What a name stands for, and the file where it is one.
    pub(super) fn item(
        &mut self,
        node: &Node,
        mut path: String,
        name: &str,
    ) -> Result<(Item, Option<Node>), PackError> {
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(name);
        let path = check_path(path.as_bytes())?;
        let refused = |error| PackError::Refused {
            path: path.clone(),
            error,
        };
        let found = node.metadata_of(name, Follow::No).map_err(refused)?;
        let (kind, file) = match found.kind {
            NodeKind::Directory => (Kind::Directory, None),
            NodeKind::Symlink => {
                let target = node.read_link_of(name).map_err(refused)?;
                (Kind::Symlink { target }, None)
            }
            NodeKind::File => {
                if let Some(to) = self.first_name(&found, &path) {
                    (Kind::HardLink { to }, None)
                } else {
                    let file = self.pack.open(node, name, FILE).map_err(refused)?;
                    (Kind::File { bytes: found.size }, Some(file))
                }
            }
        };
        let modified_unix_s = found.modified / 1_000_000_000;
        let item = Item {
            path,
            kind,
            modified_unix_s,
        };
        Ok((item, file))
    }

    /// The name by which a file with several is in the archive already.
    fn first_name(&mut self, found: &Metadata, path: &str) -> Option<String> {
        if found.links < 2 {
            return None;
        }
        let first = self.first_names.get(&found.inode).cloned();
        if first.is_none() {
            self.first_names.insert(found.inode, path.to_owned());
        }
        first
    }
}
