//! What operations come to on a filesystem without a guest before it, and what the model says.

mod modelled;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use agentvm_vfs::{
    Access, Budget, Entry, Error, File, Filesystem, Follow, Kind, Mount, Node, Open, SetTime,
    Source,
};

use self::modelled::Modelled;
use crate::operation::{At, How, Operation, Paths};
use crate::outcome::Outcome;
use crate::run::Interface;

/// Open nodes of one sequence, and names that a listing may tell.
const MOST_OPEN: usize = 10;
const MOST_NAMES: usize = 20;

/// The filesystem that a sequence begins with.
pub(crate) fn filesystem(paths: Paths) -> Filesystem {
    let empty = |max_bytes| Source::Empty { max_bytes };
    let mut mounts = vec![
        ("/w", Access::ReadWrite, empty(None)),
        ("/ro", Access::ReadOnly, empty(None)),
        ("/w/x/y", Access::ReadWrite, empty(None)),
    ];
    let budget = match paths {
        Paths::Plain => {
            mounts.push(("/w/n", Access::ReadWrite, empty(None)));
            modelled::BUDGET
        }
        Paths::Wild => {
            mounts.push(("/w/n", Access::ReadWrite, empty(Some(70_000))));
            mounts.push(("/etc", Access::ReadOnly, Source::Files(config())));
            Budget {
                bytes: 150_000,
                inodes: 30,
            }
        }
    };
    let mounts: Vec<Mount> = mounts
        .into_iter()
        .map(|(path, access, source)| Mount {
            path: path.to_owned(),
            access,
            source,
        })
        .collect();
    Filesystem::new(budget, &mounts, 0).expect("the mounts are written above")
}

fn config() -> BTreeMap<String, File> {
    [("app.conf", 0o644), ("b", 0), ("l/a", 0o644)]
        .map(|(path, mode)| {
            let data = b"content".as_slice().into();
            (path.to_owned(), File { data, mode })
        })
        .into()
}

/// A filesystem without a guest, in the middle of a sequence.
pub(crate) struct Reference {
    filesystem: Filesystem,
    root: Node,
    open: Vec<(Node, How)>,
    interface: Interface,
    modelled: Option<Modelled>,
}

impl Reference {
    pub(crate) fn new(paths: Paths, interface: Interface) -> Self {
        let filesystem = filesystem(paths);
        Self {
            root: filesystem.root(),
            filesystem,
            open: Vec::new(),
            interface,
            modelled: (paths == Paths::Plain).then(Modelled::new),
        }
    }

    pub(crate) fn filesystem(&self) -> &Filesystem {
        &self.filesystem
    }

    /// Makes numbers of nodes those of open ones. Nothing where it can't be done, or where the
    /// model has no place for it.
    pub(crate) fn resolve(&self, operation: &Operation) -> Option<Operation> {
        let mut operation = operation.clone();
        let count = self.open.len();
        let node = |number: &mut usize| match number.checked_rem(count) {
            Some(index) => {
                *number = index;
                true
            }
            None => false,
        };
        let at = |at: &mut At| {
            at.base = at.base.and_then(|base| base.checked_rem(count));
        };
        let possible = match &mut operation {
            Operation::Open(from, ..) => {
                at(from);
                count < MOST_OPEN
            }
            Operation::Close(number)
            | Operation::StatOpen(number)
            | Operation::Read(number, ..)
            | Operation::Append(number, ..)
            | Operation::SetSize(number, ..)
            | Operation::List(number) => node(number),
            Operation::Write(number, _, length, value, _) => {
                *length = (*length).min(if *value == 0 { 1 << 16 } else { 2_000 });
                node(number)
            }
            Operation::Stat(from, _)
            | Operation::CreateDirectory(from)
            | Operation::RemoveDirectory(from)
            | Operation::Unlink(from)
            | Operation::ReadLink(from)
            | Operation::SetTimes(from, ..) => {
                at(from);
                true
            }
            // Where a base is no directory beside another argument that may be wrong, it is open
            // which of the two errors comes first.
            Operation::Symlink(_, from) => {
                at(from);
                self.base(from).kind() == Kind::Directory
            }
            Operation::Rename(from, to) | Operation::Link(from, _, to) => {
                at(from);
                at(to);
                self.base(to).kind() == Kind::Directory
            }
        };
        if let Operation::Append(_, length, value) = &mut operation {
            *length = (*length).min(if *value == 0 { 1 << 16 } else { 2_000 });
        }
        let told = self.modelled.as_ref();
        let possible = possible && told.is_none_or(|model| model.has_place_for(&operation));
        (possible && !self.lists_too_much(&operation)).then_some(operation)
    }

    fn lists_too_much(&self, operation: &Operation) -> bool {
        let Operation::List(node) = operation else {
            return false;
        };
        let names = self.open.get(*node).map(|(node, _)| names(node));
        matches!(names, Some(Outcome::Names(names)) if names.len() > MOST_NAMES)
    }

    /// Carries an operation out, and holds what comes of it against the model.
    pub(crate) fn perform(&mut self, operation: &Operation) -> Outcome {
        let outcome = self.outcome(operation);
        let by_interface = matches!(
            (operation, &outcome, self.interface),
            (Operation::Symlink(target, _), Outcome::Failed(Error::NotPermitted), Interface::Preview2)
                if target.starts_with('/')
        );
        if !by_interface && let Some(model) = &mut self.modelled {
            model.check(operation, &outcome);
        }
        outcome
    }

    /// Closes what is open, and holds the whole filesystem against the model.
    pub(crate) fn finish(&mut self) {
        self.open.clear();
        if let Some(model) = &mut self.modelled {
            model.finish(&self.root, self.filesystem.usage().inodes);
        }
    }

    fn outcome(&mut self, operation: &Operation) -> Outcome {
        match operation {
            Operation::Open(at, follow, how) => self.open(at, *follow, *how),
            Operation::Close(node) => {
                self.open.swap_remove(*node);
                Outcome::Done
            }
            Operation::Stat(at, follow) => {
                stat(self.base(at).metadata_of(&at.path, follows(*follow)))
            }
            Operation::StatOpen(node) => stat(Ok(self.node(*node).metadata())),
            Operation::Read(node, offset, length, _) => self.read(*node, *offset, *length),
            Operation::Write(node, offset, length, value, streams) => {
                let loops = *streams || self.interface == Interface::Preview1;
                self.write(*node, Some(*offset), (*length, *value), loops)
            }
            Operation::Append(node, length, value) => {
                self.write(*node, None, (*length, *value), true)
            }
            Operation::SetSize(node, size) => match self.unwritable(*node) {
                Some(Error::ReadOnly) => Outcome::Failed(Error::ReadOnly),
                Some(_) => Outcome::Failed(Error::Invalid),
                None => self.node(*node).set_size(*size, 0).into(),
            },
            Operation::List(node) => names(self.node(*node)),
            Operation::CreateDirectory(at) => self.base(at).create_directory(&at.path, 0).into(),
            Operation::RemoveDirectory(at) => self.base(at).remove_directory(&at.path, 0).into(),
            Operation::Unlink(at) => self.base(at).unlink(&at.path, 0).into(),
            Operation::Rename(from, to) => {
                let (base, to_base) = (self.base(from), self.base(to));
                base.rename(&from.path, to_base, &to.path, 0).into()
            }
            Operation::Link(from, follow, to) => {
                let (base, to_base) = (self.base(from), self.base(to));
                base.link(&from.path, follows(*follow), to_base, &to.path, 0)
                    .into()
            }
            Operation::Symlink(target, at) => {
                if self.interface == Interface::Preview2 && target.starts_with('/') {
                    return Outcome::Failed(Error::NotPermitted);
                }
                self.base(at).symlink(target, &at.path, 0).into()
            }
            Operation::ReadLink(at) => match self.base(at).read_link_of(&at.path) {
                Ok(target) => Outcome::Text(target),
                Err(error) => Outcome::Failed(error),
            },
            Operation::SetTimes(at, follow, times) => {
                let [accessed, modified] =
                    times.map(|time| time.map_or(SetTime::Keep, SetTime::At));
                let base = self.base(at);
                base.set_times_of(&at.path, follows(*follow), accessed, modified, 0)
                    .into()
            }
        }
    }

    fn node(&self, node: usize) -> &Node {
        self.open.get(node).map_or(&self.root, |(node, _)| node)
    }

    fn base(&self, at: &At) -> &Node {
        at.base.map_or(&self.root, |base| self.node(base))
    }

    fn open(&mut self, at: &At, follow: bool, how: How) -> Outcome {
        let open = Open {
            create: how.create,
            exclusive: how.exclusive,
            directory: how.directory,
            truncate: how.truncate,
            write: how.write,
            read: how.read,
        };
        match self.base(at).open(&at.path, follows(follow), open, 0) {
            Ok(node) => {
                let kind = node.kind();
                self.open.push((node, how));
                Outcome::Opened(kind)
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    fn read(&self, node: usize, offset: u64, length: u32) -> Outcome {
        let is_readable = self.open.get(node).is_some_and(|(_, how)| how.read);
        let node = self.node(node);
        if node.kind() == Kind::File && !is_readable {
            return Outcome::Refused;
        }
        let mut bytes = vec![0; usize::try_from(length.min(1_024)).unwrap_or_default()];
        match node.read_at(offset, &mut bytes) {
            Ok(read) => {
                bytes.truncate(read);
                Outcome::Bytes(bytes)
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Why a node that was not opened to be written is not; any other error than that of a
    /// read-only mount is the interface's own.
    fn unwritable(&self, node: usize) -> Option<Error> {
        let (node, how) = self.open.get(node)?;
        if node.kind() == Kind::File && how.write {
            return None;
        }
        node.write_at(0, &[], 0).err().or(Some(Error::Access))
    }

    fn write(
        &self,
        node: usize,
        offset: Option<u64>,
        (length, value): (u32, u8),
        loops: bool,
    ) -> Outcome {
        match self.unwritable(node) {
            Some(Error::ReadOnly) => return Outcome::Failed(Error::ReadOnly),
            Some(_) => return Outcome::Refused,
            None => {}
        }
        let node = self.node(node);
        let bytes = vec![value; usize::try_from(length).unwrap_or_default()];
        let mut done = 0;
        while let Some(rest) = bytes.get(done..)
            && !rest.is_empty()
        {
            let at = u64::try_from(done).unwrap_or_default();
            let written = match offset {
                Some(offset) => node.write_at(offset.saturating_add(at), rest, 0),
                None => node.append(rest, 0).map(|(written, _)| written),
            };
            match written {
                Ok(written) => done += written,
                Err(error) if done == 0 => return Outcome::Failed(error),
                Err(error) => return Outcome::Partly(at, error),
            }
            if !loops {
                break;
            }
        }
        Outcome::Count(u64::try_from(done).unwrap_or_default())
    }
}

fn follows(follow: bool) -> Follow {
    if follow { Follow::Yes } else { Follow::No }
}

fn stat(found: Result<agentvm_vfs::Metadata, Error>) -> Outcome {
    match found {
        Ok(found) => Outcome::Stat(found.kind, found.size, found.links),
        Err(error) => Outcome::Failed(error),
    }
}

/// The names of a directory, `.` and `..` left out.
fn names(node: &Node) -> Outcome {
    let mut names = Vec::new();
    let read = node.read_dir(0, &mut |entry: Entry<'_>| {
        if entry.name != "." && entry.name != ".." {
            names.push((entry.kind, entry.name.to_owned()));
        }
        ControlFlow::Continue(())
    });
    names.sort();
    match read {
        Ok(()) => Outcome::Names(names),
        Err(error) => Outcome::Failed(error),
    }
}
