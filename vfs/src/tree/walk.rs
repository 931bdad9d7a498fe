//! How a path leads to an inode: name by name from a directory, and never out of it.

use std::borrow::Cow;

use super::Tree;
use super::blocks::length;
use super::inode::Content;
use super::slab::Ino;
use crate::guards::{self, Guard};
use crate::{Error, Follow, Kind, MAX_NAME_BYTES, MAX_PATH_BYTES, MAX_SYMLINKS};

/// Bytes of a path that are looked at in one step of work.
const STEP_BYTES: u64 = 128;

/// The last name of a path, and the directory that it is in.
#[derive(Debug)]
pub(crate) struct Parent<'p> {
    pub(crate) directory: Ino,
    pub(crate) last: Last<'p>,
    /// Whether a slash follows the name.
    pub(crate) slash: bool,
}

/// The last name of a path.
#[derive(Debug)]
pub(crate) enum Last<'p> {
    Name(Cow<'p, str>),
    Dot,
    DotDot,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) enum Target<'p> {
    Found { ino: Ino },
    Missing { directory: Ino, name: Cow<'p, str> },
}

/// What becomes of a path's last name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It has to be there, or not.
    Lookup(Follow),
    /// It may be made as a file: a slash behind it is refused.
    Create(Follow),
}

/// What is still to be walked: the path, or a link's target.
struct Frame<'p> {
    text: Cow<'p, str>,
    at: usize,
    /// Whether nothing but slashes is to be walked after it.
    ends: bool,
}

struct Step {
    /// Where the name is in the frame on top.
    from: usize,
    to: usize,
    slash: bool,
    last: bool,
}

struct Walk<'t, 'p> {
    tree: &'t Tree,
    /// The directories from the base to where the walk is.
    above: Vec<Ino>,
    frames: Vec<Frame<'p>>,
    links: u32,
    steps: u64,
    from_root: bool,
    /// A link with a slash behind it was followed.
    must_be_directory: bool,
}

impl Tree {
    /// Walks to the directory of the last name, which is not looked up.
    pub(crate) fn parent<'p>(&mut self, base: Ino, path: &'p str) -> Result<Parent<'p>, Error> {
        let mut walk = Walk::new(self, base, path)?;
        let parent = walk.parent();
        let steps = walk.steps;
        self.step(steps);
        parent
    }

    /// Walks to the end.
    pub(crate) fn target<'p>(
        &mut self,
        base: Ino,
        path: &'p str,
        ending: Ending,
    ) -> Result<Target<'p>, Error> {
        let mut walk = Walk::new(self, base, path)?;
        let target = walk.target(ending);
        let steps = walk.steps;
        self.step(steps);
        target
    }

    /// Walks to what has to be there.
    pub(crate) fn existing(&mut self, base: Ino, path: &str, follow: Follow) -> Result<Ino, Error> {
        match self.target(base, path, Ending::Lookup(follow))? {
            Target::Found { ino } => Ok(ino),
            Target::Missing { .. } => Err(Error::NoEntry),
        }
    }
}

impl<'t, 'p> Walk<'t, 'p> {
    fn new(tree: &'t Tree, base: Ino, path: &'p str) -> Result<Self, Error> {
        tree.directory(base)?;
        if path.is_empty() {
            return Err(Error::NoEntry);
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(Error::NameTooLong);
        }
        if path.contains('\0') && guards::is_on(Guard::NulInName) {
            return Err(Error::Invalid);
        }
        let mut walk = Self {
            tree,
            above: Vec::with_capacity(8),
            frames: Vec::with_capacity(2),
            links: 0,
            steps: 0,
            from_root: base == tree.root,
            must_be_directory: false,
        };
        walk.above.push(base);
        if path.starts_with('/') {
            if guards::is_on(Guard::AbsolutePath) {
                return Err(Error::NotPermitted);
            }
            walk.above = vec![tree.root];
        }
        walk.push(Cow::Borrowed(path));
        Ok(walk)
    }

    fn push(&mut self, text: Cow<'p, str>) {
        self.steps += length(text.len()) / STEP_BYTES;
        let ends = self.frames.last().is_none_or(|below| {
            below.ends && is_slashes(below.text.get(below.at..).unwrap_or_default())
        });
        self.frames.push(Frame { text, at: 0, ends });
    }

    fn here(&self) -> Result<Ino, Error> {
        self.above.last().copied().ok_or(Error::NotPermitted)
    }

    fn parent(&mut self) -> Result<Parent<'p>, Error> {
        while let Some(step) = self.next() {
            if !step.last {
                self.enter(&step)?;
                continue;
            }
            let last = self.last(&step);
            if let Last::Name(name) = &last {
                check_length(name)?;
            }
            if matches!(last, Last::DotDot) && self.above.len() < 2 {
                self.leave()?;
            }
            let directory = self.here()?;
            return Ok(Parent {
                directory,
                last,
                slash: step.slash,
            });
        }
        Ok(Parent {
            directory: self.here()?,
            last: Last::Dot,
            slash: true,
        })
    }

    fn target(&mut self, ending: Ending) -> Result<Target<'p>, Error> {
        while let Some(step) = self.next() {
            if !step.last {
                self.enter(&step)?;
                continue;
            }
            let name = match self.last(&step) {
                Last::Name(name) => name,
                Last::Dot => continue,
                Last::DotDot => {
                    self.leave()?;
                    continue;
                }
            };
            if let Some(end) = self.end(name, step.slash, ending)? {
                return Ok(end);
            }
        }
        // Dots, or a link to `/`: what was walked to last is meant.
        Ok(Target::Found { ino: self.here()? })
    }

    /// Looks the last name up; none where it is a link to be followed.
    fn end(
        &mut self,
        name: Cow<'p, str>,
        slash: bool,
        ending: Ending,
    ) -> Result<Option<Target<'p>>, Error> {
        let (follow, create) = match ending {
            Ending::Lookup(follow) => (follow, false),
            Ending::Create(follow) => (follow, true),
        };
        let directory = self.here()?;
        if create && slash {
            return Err(Error::IsDirectory);
        }
        check_length(&name)?;
        self.must_be_directory |= slash;
        let Some((_, ino)) = self.tree.find(directory, &name)? else {
            return if self.must_be_directory {
                Err(Error::NoEntry)
            } else {
                Ok(Some(Target::Missing { directory, name }))
            };
        };
        let kind = self.tree.inode(ino)?.kind();
        if kind == Kind::Symlink && (follow == Follow::Yes || self.must_be_directory) {
            self.follow(ino)?;
            return Ok(None);
        }
        if self.must_be_directory && kind != Kind::Directory {
            return Err(Error::NotDirectory);
        }
        Ok(Some(Target::Found { ino }))
    }

    /// The next name, wherever it is.
    fn next(&mut self) -> Option<Step> {
        while let Some(frame) = self.frames.last_mut() {
            let rest = frame.text.get(frame.at..).unwrap_or_default();
            let slashes = rest.bytes().take_while(|byte| *byte == b'/').count();
            let name = rest.get(slashes..).unwrap_or_default();
            if name.is_empty() {
                self.frames.pop();
                continue;
            }
            let from = frame.at + slashes;
            let to = from + name.find('/').unwrap_or(name.len());
            frame.at = to;
            let behind = frame.text.get(to..).unwrap_or_default();
            let slash = !behind.is_empty();
            let last = frame.ends && is_slashes(behind);
            self.steps += 1;
            return Some(Step {
                from,
                to,
                slash,
                last,
            });
        }
        None
    }

    fn name(&self, step: &Step) -> &str {
        let text = self.frames.last().map(|frame| &frame.text);
        let name = text.and_then(|text| text.get(step.from..step.to));
        name.unwrap_or_default()
    }

    fn last(&self, step: &Step) -> Last<'p> {
        match self.name(step) {
            "." => return Last::Dot,
            ".." => return Last::DotDot,
            _ => {}
        }
        let name = match self.frames.last().map(|frame| &frame.text) {
            Some(Cow::Borrowed(path)) => {
                Cow::Borrowed(path.get(step.from..step.to).unwrap_or_default())
            }
            Some(Cow::Owned(_)) | None => Cow::Owned(self.name(step).to_owned()),
        };
        Last::Name(name)
    }

    /// Goes into a directory that is not the end, or on with a link's target.
    fn enter(&mut self, step: &Step) -> Result<(), Error> {
        let directory = self.here()?;
        let found = match self.name(step) {
            "." => return Ok(()),
            ".." => return self.leave(),
            name => {
                check_length(name)?;
                self.tree.find(directory, name)?
            }
        };
        let (_, ino) = found.ok_or(Error::NoEntry)?;
        match self.tree.inode(ino)?.kind() {
            Kind::Directory => self.above.push(ino),
            Kind::Symlink => self.follow(ino)?,
            Kind::File => return Err(Error::NotDirectory),
        }
        Ok(())
    }

    /// `..`, which never leads above the base.
    fn leave(&mut self) -> Result<(), Error> {
        let left = self.above.pop().ok_or(Error::NotPermitted)?;
        if self.above.is_empty() {
            if guards::is_on(Guard::EscapeAbove) {
                return Err(Error::NotPermitted);
            }
            self.above.push(self.tree.directory(left)?.parent);
        }
        Ok(())
    }

    fn follow(&mut self, link: Ino) -> Result<(), Error> {
        if self.links >= MAX_SYMLINKS && guards::is_on(Guard::SymlinkCap) {
            return Err(Error::Loop);
        }
        let Content::Symlink(target) = &self.tree.inode(link)?.content else {
            return Err(Error::Invalid);
        };
        self.links += 1;
        self.steps += 2;
        if target.starts_with('/') {
            if !self.from_root && guards::is_on(Guard::AbsoluteLink) {
                return Err(Error::NotPermitted);
            }
            self.above = vec![self.tree.root];
        }
        self.push(Cow::Owned(target.to_string()));
        Ok(())
    }
}

fn is_slashes(rest: &str) -> bool {
    rest.bytes().all(|byte| byte == b'/')
}

fn check_length(name: &str) -> Result<(), Error> {
    if name.len() > MAX_NAME_BYTES && guards::is_on(Guard::NameLength) {
        return Err(Error::NameTooLong);
    }
    Ok(())
}
