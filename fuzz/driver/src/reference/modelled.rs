//! The plain model that the filesystem's own tests have, held against what came of operations.

#[path = "../../../../vfs/tests/filesystem/model.rs"]
#[allow(
    dead_code,
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "it is written for the tests of the filesystem, under their lints"
)]
mod model;

use agentvm_vfs::{Budget, Error, Follow, Kind, Node, Open};

use self::model::{Handle, How, Model, Thing};
use super::{follows, names, stat};
use crate::operation::{At, Operation};
use crate::outcome::Outcome;

/// So much that no sequence uses it up.
pub(super) const BUDGET: Budget = Budget {
    bytes: 4 << 20,
    inodes: 1_000,
};

/// The model in the middle of a sequence.
pub(super) struct Modelled {
    model: Model,
}

impl Modelled {
    pub(super) fn new() -> Self {
        let all = BUDGET.bytes;
        let mounts = [
            ("/ro", true, all),
            ("/w", false, all),
            ("/w/n", false, all),
            ("/w/x/y", false, all),
        ];
        Self {
            model: Model::new(&mounts),
        }
    }

    /// Whether the model says anything about an operation: it knows one name of a link, and
    /// nothing below directories that are removed.
    pub(super) fn has_place_for(&self, operation: &Operation) -> bool {
        let lives = |at: &At| !self.model.is_dead(at.base);
        match operation {
            Operation::Rename(from, to) => lives(from) && lives(to),
            Operation::Link(from, follow, to) => {
                let is_link = self.model.is_link(from.base, &from.path, follows(*follow));
                lives(from) && lives(to) && !is_link
            }
            Operation::Open(..)
            | Operation::Close(_)
            | Operation::Stat(..)
            | Operation::StatOpen(_)
            | Operation::Read(..)
            | Operation::Write(..)
            | Operation::Append(..)
            | Operation::SetSize(..)
            | Operation::List(_)
            | Operation::CreateDirectory(_)
            | Operation::RemoveDirectory(_)
            | Operation::Unlink(_)
            | Operation::Symlink(..)
            | Operation::ReadLink(_)
            | Operation::SetTimes(..) => true,
        }
    }

    /// Carries an operation out on the model, which is to come to the same.
    pub(super) fn check(&mut self, operation: &Operation, outcome: &Outcome) {
        if let Some(expected) = self.expected(operation, outcome) {
            assert_eq!(*outcome, expected, "the model of {operation:?}");
        }
    }

    fn expected(&mut self, operation: &Operation, outcome: &Outcome) -> Option<Outcome> {
        let model = &mut self.model;
        Some(match operation {
            Operation::Open(at, follow, how) => match (self.open(at, *follow, *how), outcome) {
                // A link that is not followed is no directory; the model knows no such flag.
                (Outcome::Failed(Error::Loop), Outcome::Failed(Error::NotDirectory))
                    if how.directory && !follow =>
                {
                    Outcome::Failed(Error::NotDirectory)
                }
                (expected, _) => expected,
            },
            Operation::Close(node) => {
                model.close(*node);
                Outcome::Done
            }
            Operation::Stat(at, follow) => self.stat(at, follows(*follow)),
            Operation::StatOpen(node) => {
                let data = model.data(*node).ok()?;
                Outcome::Stat(Kind::File, size(data), data.links.into())
            }
            Operation::Read(node, offset, length, _) => {
                if *outcome == Outcome::Refused {
                    return None;
                }
                let length = usize::try_from((*length).min(1_024)).unwrap_or_default();
                match model.read(*node, *offset, length) {
                    Ok(bytes) => Outcome::Bytes(bytes),
                    Err(error) => Outcome::Failed(error),
                }
            }
            Operation::Write(node, offset, length, value, _) => {
                return self.write(*node, Some(*offset), (*length, *value), outcome);
            }
            Operation::Append(node, length, value) => {
                return self.write(*node, None, (*length, *value), outcome);
            }
            Operation::SetSize(node, to) => return self.set_size(*node, *to, outcome),
            Operation::List(node) => return self.list(*node, outcome),
            Operation::CreateDirectory(at) => model.create_directory(at.base, &at.path).into(),
            Operation::RemoveDirectory(at) => model.remove_directory(at.base, &at.path).into(),
            Operation::Unlink(at) => model.unlink(at.base, &at.path).into(),
            Operation::Rename(from, to) => {
                let renamed = model.rename((from.base, &from.path), (to.base, &to.path));
                renamed.into()
            }
            Operation::Link(from, follow, to) => {
                let from = (from.base, from.path.as_str(), follows(*follow));
                model.link(from, (to.base, &to.path)).into()
            }
            Operation::Symlink(target, at) => model.symlink(target, at.base, &at.path).into(),
            // The targets are compared at the end.
            Operation::ReadLink(_) => return None,
            Operation::SetTimes(at, follow, _) => {
                if *outcome == Outcome::Failed(Error::ReadOnly) {
                    return None;
                }
                model.stat(at.base, &at.path, follows(*follow)).into()
            }
        })
    }

    fn open(&mut self, at: &At, follow: bool, how: crate::operation::How) -> Outcome {
        let asked = How {
            create: how.create,
            exclusive: how.exclusive,
            truncate: how.truncate,
            write: how.write,
        };
        match self.model.open(at.base, &at.path, follows(follow), asked) {
            Ok(handle) => {
                let is_file = matches!(handle, Handle::File(_));
                self.model.handles.push(handle);
                match (is_file, how.directory) {
                    (true, true) => {
                        self.model.close(self.model.handles.len() - 1);
                        Outcome::Failed(Error::NotDirectory)
                    }
                    (true, false) => Outcome::Opened(Kind::File),
                    (false, _) => Outcome::Opened(Kind::Directory),
                }
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    fn stat(&self, at: &At, follow: Follow) -> Outcome {
        match self.model.stat(at.base, &at.path, follow) {
            Ok((kind, size, links)) => Outcome::Stat(kind, size, links),
            Err(error) => Outcome::Failed(error),
        }
    }

    fn write(
        &mut self,
        node: usize,
        offset: Option<u64>,
        (length, value): (u32, u8),
        outcome: &Outcome,
    ) -> Option<Outcome> {
        if let Outcome::Refused | Outcome::Failed(Error::ReadOnly) = outcome {
            return None;
        }
        let data = match self.model.data(node) {
            Ok(data) => data,
            Err(error) => return Some(Outcome::Failed(error)),
        };
        let offset = offset.unwrap_or(size(data));
        let length = u64::from(length);
        let fits = BUDGET.bytes.saturating_sub(offset).min(length);
        if fits == 0 {
            return Some(Outcome::Failed(Error::FileTooLarge));
        }
        let [from, to] = [offset, offset + fits].map(|at| usize::try_from(at).unwrap_or_default());
        if data.content.len() < to {
            data.content.resize(to, 0);
        }
        data.content.get_mut(from..to)?.fill(value);
        let was_partly = matches!(outcome, Outcome::Partly(..));
        Some(if was_partly && fits < length {
            Outcome::Partly(fits, Error::FileTooLarge)
        } else {
            Outcome::Count(fits)
        })
    }

    fn set_size(&mut self, node: usize, to: u64, outcome: &Outcome) -> Option<Outcome> {
        if let Outcome::Failed(Error::Invalid | Error::ReadOnly) = outcome {
            return None; // it was not opened to be written
        }
        let data = self.model.data(node).ok()?;
        if to > BUDGET.bytes && to > size(data) {
            return Some(Outcome::Failed(Error::FileTooLarge));
        }
        data.content.resize(usize::try_from(to).ok()?, 0);
        Some(Outcome::Done)
    }

    /// The model knows names; what they name is compared at the end.
    fn list(&self, node: usize, outcome: &Outcome) -> Option<Outcome> {
        let mut told = match (self.model.list(node), outcome) {
            (Ok(names), Outcome::Names(told)) => {
                let mut sorted: Vec<&String> = told.iter().map(|(_, name)| name).collect();
                sorted.sort();
                assert!(sorted.into_iter().eq(&names), "{told:?} is {names:?}");
                return None;
            }
            (Ok(names), _) => names,
            (Err(error), _) => return Some(Outcome::Failed(error)),
        };
        Some(Outcome::Text(format!("names {:?}", told.drain(..))))
    }

    /// Holds all that is there against the model.
    pub(super) fn finish(&mut self, root: &Node, inodes: u64) {
        while let Some(last) = self.model.handles.len().checked_sub(1) {
            self.model.close(last);
        }
        assert_eq!(inodes, self.model.inodes(), "inodes");
        for (path, thing) in &self.model.things {
            let path = if path.is_empty() { "." } else { path };
            let at = At {
                base: None,
                path: path.to_owned(),
            };
            let found = stat(root.metadata_of(path, Follow::No));
            assert_eq!(found, self.stat(&at, Follow::No), "{path}");
            match thing {
                Thing::Link(target) => {
                    assert_eq!(root.read_link_of(path).as_ref(), Ok(target), "{path}");
                }
                Thing::File(number) => {
                    let data = self.model.files.get(number).expect("a name of a file");
                    assert!(content(root, path) == data.content, "content of {path}");
                }
                Thing::Directory => {
                    let open = root.open(path, Follow::No, Open::default(), 0);
                    let open = open.expect("a directory");
                    assert!(matches!(names(&open), Outcome::Names(_)), "{path}");
                }
            }
        }
    }
}

fn size(data: &model::Data) -> u64 {
    u64::try_from(data.content.len()).unwrap_or(u64::MAX)
}

fn content(root: &Node, path: &str) -> Vec<u8> {
    let how = Open {
        read: true,
        ..Open::default()
    };
    let file = root
        .open(path, Follow::No, how, 0)
        .expect("a file that can be read");
    let mut bytes = vec![0; usize::try_from(file.metadata().size).unwrap_or_default()];
    let read = file.read_at(0, &mut bytes).expect("it is a file");
    bytes.truncate(read);
    bytes
}
