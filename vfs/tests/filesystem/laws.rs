//! Any sequence of calls leaves the filesystem as a plain model has it, and its counters exact.
//!
//! `AGENTVM_SOAK=1` makes it ten times as many.

use agentvm_vfs::{
    Access, Budget, Error, Filesystem, Follow, Kind, Mount, Node, Open, SetTime, Source,
};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, any};
use proptest::test_runner::{TestCaseError, TestRunner};

use crate::model::{Handle, How, Model, Thing};
use crate::seen::names;

/// A call by the numbers that it is made of.
type Raw = (u8, u8, u8, u8, u16);

/// Calls of one sequence, and sequences of each test: a million calls in all.
const CALLS: usize = 200;
const SEQUENCES: u32 = 2_500;

/// Paths from the root, and from any other directory.
const FROM_ROOT: [&str; 36] = [
    "w/a", "w/b", "w/c", "w/a/a", "w/a/b", "w/a/c", "w/b/a", "w/b/c", "w/a/a/c", "w/a/b/a", "w/l",
    "w/l/a", "w/l/c", "w/n/a", "w/n/b", "w/n/c", "w/n/a/c", "w/n/l", "w/x/y/a", "w/x/c",
    "w/a/../b", "./w/b/.", "w/n/../a", "w/a/..", "w", "w/n", "w/x", "w/x/y", "ro", "ro/x", "a",
    ".", "..", "w/../..", "w/m", "w/m/a",
];
const BELOW: [&str; 16] = [
    "a", "b", "c", "a/a", "a/b", "a/c", "b/a", "b/c", "l", "l/a", "n/a", "a/..", "..", "../b",
    "a/../..", ".",
];
const TARGETS: [&str; 12] = [
    "a", "b", "../b", "a/b", "..", ".", "l", "m", "/w/a", "/w/n/a", "n/a", "../../w",
];
/// What is there before a sequence.
const DIRECTORIES: [&str; 4] = ["w/a", "w/b", "w/a/a", "w/n/a"];
const FILES: [&str; 3] = ["w/c", "w/a/c", "w/n/c"];
const OFFSETS: [u64; 8] = [0, 1, 10, 4_000, 65_530, 65_536, 131_000, 300_000];

/// The flags of a call that make a file.
const CREATE: u8 = 1;

/// The same calls on a filesystem and on the model.
struct Both {
    filesystem: Filesystem,
    root: Node,
    nodes: Vec<Node>,
    model: Model,
    budget: Budget,
}

impl Both {
    fn new(budget: Budget, inner: u64) -> Self {
        let mount = |path: &str, access, max_bytes| Mount {
            path: path.to_owned(),
            access,
            source: Source::Empty { max_bytes },
        };
        let mounts = [
            mount("/w", Access::ReadWrite, None),
            mount("/w/n", Access::ReadWrite, Some(inner)),
            mount("/ro", Access::ReadOnly, None),
            mount("/w/x/y", Access::ReadWrite, None),
        ];
        let filesystem = Filesystem::new(budget, &mounts, 0).unwrap();
        let all = budget.bytes;
        let mut both = Self {
            root: filesystem.root(),
            filesystem,
            nodes: Vec::new(),
            model: Model::new(&[
                ("/w", false, all),
                ("/w/n", false, inner.min(all)),
                ("/ro", true, all),
                ("/w/x/y", false, all),
            ]),
            budget,
        };
        for path in DIRECTORIES {
            both.make(None, path, 0, true).unwrap();
        }
        for path in FILES {
            both.open(None, path, Follow::No, CREATE).unwrap();
        }
        both.make(None, "w/l", 0, false).unwrap();
        both
    }

    /// Whether there may be no room for so many more bytes.
    fn is_tight(&self, bytes: u64, inodes: u64) -> bool {
        let usage = self.filesystem.usage();
        let inner = self.model.mounts[1].largest_file;
        usage.bytes + bytes > self.budget.bytes.min(inner)
            || usage.inodes + inodes > self.budget.inodes
    }

    /// Compares, unless a quota refused what may have no room.
    fn check<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &str,
        ours: &Result<T, Error>,
        model: &Result<T, Error>,
    ) -> Result<(), TestCaseError> {
        if ours == model {
            return Ok(());
        }
        let message = format!("{what}: {ours:?}, the model says {model:?}");
        let _ = self;
        Err(TestCaseError::fail(message))
    }

    /// Where a path starts, and the path.
    fn base(&self, pick: u8, path: u8) -> (Option<usize>, &'static str) {
        let handle = usize::from(pick) % (2 * self.nodes.len() + 1);
        let path = usize::from(path);
        if handle >= self.nodes.len() {
            return (None, FROM_ROOT[path % FROM_ROOT.len()]);
        }
        match BELOW[path % BELOW.len()] {
            "." if self.model.is_dead(Some(handle)) => (None, "."),
            path => (Some(handle), path),
        }
    }

    fn node(&self, base: Option<usize>) -> &Node {
        base.map_or(&self.root, |handle| &self.nodes[handle])
    }

    fn call(&mut self, raw: Raw) -> Result<(), TestCaseError> {
        let (kind, first, second, third, number) = raw;
        let follow = if number & 1 == 0 {
            Follow::Yes
        } else {
            Follow::No
        };
        let (base, path) = self.base(third, first);
        match kind % 16 {
            0..=2 => self.open(base, path, follow, second),
            3 | 4 => self.make(base, path, second, kind % 16 == 3),
            5 => self.remove(base, path, number),
            6 | 7 => self.two_paths((base, path, follow), second, kind % 16 == 6),
            8 => self.stat(base, path, follow),
            9 => self.list(third),
            10 => {
                self.close(third);
                Ok(())
            }
            11 | 12 => self.write(third, second, number),
            13 => self.read(third, second),
            14 => self.resize(third, second, number),
            _ => self.times(base, path, follow),
        }
    }

    fn open(
        &mut self,
        base: Option<usize>,
        path: &str,
        follow: Follow,
        flags: u8,
    ) -> Result<(), TestCaseError> {
        let how = How {
            create: flags & 0b1 != 0,
            exclusive: flags & 0b1100 == 0b1100,
            truncate: flags & 0b11_0000 == 0b11_0000,
            write: flags & 0b100_0001 == 0b100_0001,
        };
        let open = Open {
            create: how.create,
            exclusive: how.exclusive,
            truncate: how.truncate,
            write: how.write,
            read: true,
            directory: false,
        };
        let tight = self.is_tight(300, 1);
        let ours = self.node(base).open(path, follow, open, 0);
        if is_full(&ours, tight) {
            return Ok(());
        }
        let model = self.model.open(base, path, follow, how);
        let kinds = (
            ours.as_ref().map(Node::kind).map_err(|error| *error),
            model.as_ref().map(kind_of).map_err(|error| *error),
        );
        self.check(&format!("open {path} {how:?}"), &kinds.0, &kinds.1)?;
        if let (Ok(node), Ok(handle)) = (ours, model) {
            let twice =
                matches!(handle, Handle::Directory(_)) && self.model.handles.contains(&handle);
            let many = self.nodes.len() > 8;
            self.nodes.push(node);
            self.model.handles.push(handle);
            if twice || many {
                self.model.close(self.nodes.len() - 1);
                self.nodes.pop();
            }
        }
        Ok(())
    }

    fn make(
        &mut self,
        base: Option<usize>,
        path: &str,
        target: u8,
        directory: bool,
    ) -> Result<(), TestCaseError> {
        let target = TARGETS[usize::from(target) % TARGETS.len()];
        let tight = self.is_tight(300, 1);
        let node = self.node(base);
        let ours = if directory {
            node.create_directory(path, 0)
        } else {
            node.symlink(target, path, 0)
        };
        if is_full(&ours, tight) {
            return Ok(());
        }
        let model = if directory {
            self.model.create_directory(base, path)
        } else {
            self.model.symlink(target, base, path)
        };
        self.check(&format!("make {path} {target} {directory}"), &ours, &model)
    }

    fn remove(
        &mut self,
        base: Option<usize>,
        path: &str,
        number: u16,
    ) -> Result<(), TestCaseError> {
        let node = self.node(base);
        let (ours, model) = if number & 1 == 0 {
            (node.unlink(path, 0), self.model.unlink(base, path))
        } else {
            (
                node.remove_directory(path, 0),
                self.model.remove_directory(base, path),
            )
        };
        self.check(&format!("remove {path} {number}"), &ours, &model)
    }

    fn two_paths(
        &mut self,
        from: (Option<usize>, &str, Follow),
        second: u8,
        rename: bool,
    ) -> Result<(), TestCaseError> {
        let (base, path, follow) = from;
        let (to_base, to) = self.base(second / 2, second);
        if self.model.is_dead(base) || self.model.is_dead(to_base) {
            return Ok(());
        }
        if !rename && self.model.is_link(base, path, follow) {
            return Ok(());
        }
        let tight = self.is_tight(300, 0);
        let (node, to_node) = (self.node(base), self.node(to_base));
        let ours = if rename {
            node.rename(path, to_node, to, 0)
        } else {
            node.link(path, follow, to_node, to, 0)
        };
        if is_full(&ours, tight) {
            return Ok(());
        }
        let model = if rename {
            self.model.rename((base, path), (to_base, to))
        } else {
            self.model.link((base, path, follow), (to_base, to))
        };
        self.check(
            &format!("rename or link {rename} {base:?} {path} to {to_base:?} {to}"),
            &ours,
            &model,
        )
    }

    fn stat(&self, base: Option<usize>, path: &str, follow: Follow) -> Result<(), TestCaseError> {
        let ours = self.node(base).metadata_of(path, follow);
        let ours = ours.map(|it| (it.kind, it.size, it.links));
        self.check(
            &format!("stat {base:?} {path}"),
            &ours,
            &self.model.stat(base, path, follow),
        )
    }

    fn times(&self, base: Option<usize>, path: &str, follow: Follow) -> Result<(), TestCaseError> {
        let node = self.node(base);
        let ours = node.set_times_of(path, follow, SetTime::At(1), SetTime::Keep, 2);
        if ours == Err(Error::ReadOnly) {
            return Ok(());
        }
        let model = self.model.stat(base, path, follow).map(|_| ());
        self.check(&format!("times {path}"), &ours, &model)
    }

    fn list(&self, pick: u8) -> Result<(), TestCaseError> {
        let Some(handle) = self.handle(pick) else {
            return Ok(());
        };
        let node = &self.nodes[handle];
        let ours = match node.kind() {
            Kind::Directory => Ok(names(node)
                .into_iter()
                .filter(|it| it != "." && it != "..")
                .collect()),
            Kind::File | Kind::Symlink => node
                .read_dir(0, &mut |_| std::ops::ControlFlow::Continue(()))
                .map(|()| Vec::new()),
        };
        self.check("list", &ours, &self.model.list(handle))
    }

    fn handle(&self, pick: u8) -> Option<usize> {
        usize::from(pick).checked_rem(self.nodes.len())
    }

    fn close(&mut self, pick: u8) {
        if let Some(handle) = self.handle(pick) {
            self.nodes.swap_remove(handle);
            self.model.close(handle);
        }
    }

    fn write(&mut self, pick: u8, at: u8, number: u16) -> Result<(), TestCaseError> {
        let Some(handle) = self.handle(pick) else {
            return Ok(());
        };
        let bytes = vec![at; usize::from(number % 300)];
        let offset = OFFSETS[usize::from(at) % OFFSETS.len()];
        let tight = self.is_tight(80_000, 0);
        let appends = at >= 128;
        let ours = if appends {
            self.nodes[handle]
                .append(&bytes, 0)
                .map(|(written, _)| written)
        } else {
            self.nodes[handle].write_at(offset, &bytes, 0)
        };
        if is_full(&ours, tight) {
            return Ok(());
        }
        let data = match self.model.data(handle) {
            Ok(data) => data,
            Err(error) => return self.check("write", &ours, &Err(error)),
        };
        let size = data.content.len();
        let offset = if appends {
            size
        } else {
            usize::try_from(offset).unwrap()
        };
        let left = usize::try_from(data.largest)
            .unwrap()
            .saturating_sub(offset);
        let mut model = match bytes.len() {
            0 => Ok(0),
            _ if left == 0 => Err(Error::FileTooLarge),
            length => Ok(length.min(left)),
        };
        match (&ours, &mut model) {
            // As much as there is room for.
            (Ok(some), Ok(all)) if tight && 0 < *some && *some < *all => *all = *some,
            _ => {}
        }
        if let Ok(written @ 1..) = model {
            data.content.resize(size.max(offset + written), 0);
            data.content[offset..offset + written].copy_from_slice(&bytes[..written]);
        }
        self.check(&format!("write {offset} {left}"), &ours, &model)
    }

    fn read(&self, pick: u8, at: u8) -> Result<(), TestCaseError> {
        let Some(handle) = self.handle(pick) else {
            return Ok(());
        };
        let offset = OFFSETS[usize::from(at) % OFFSETS.len()];
        let mut buffer = [7; 500];
        let ours = self.nodes[handle].read_at(offset, &mut buffer);
        let ours = ours.map(|read| buffer[..read].to_vec());
        let model = self.model.read(handle, offset, 500);
        self.check("read", &ours, &model)
    }

    fn resize(&mut self, pick: u8, to: u8, number: u16) -> Result<(), TestCaseError> {
        let Some(handle) = self.handle(pick) else {
            return Ok(());
        };
        let size = OFFSETS[usize::from(to) % OFFSETS.len()] + u64::from(number % 50);
        let allocates = to >= 200;
        let tight = self.is_tight(size + 65_536 * 2, 0);
        let node = &self.nodes[handle];
        let ours = if allocates {
            node.allocate(0, size, 0)
        } else {
            node.set_size(size, 0)
        };
        if allocates && is_full(&ours, tight) {
            return Ok(());
        }
        let model = self.model.data(handle).and_then(|data| {
            let old = u64::try_from(data.content.len()).unwrap();
            if allocates && size == 0 {
                return Err(Error::Invalid);
            }
            if size > data.largest && (allocates || size > old) {
                return Err(Error::FileTooLarge);
            }
            let new = if allocates { old.max(size) } else { size };
            data.content.resize(usize::try_from(new).unwrap(), 0);
            Ok(())
        });
        self.check(&format!("resize to {size}"), &ours, &model)
    }

    /// Compares everything at the end of a sequence.
    fn finish(&self) -> Result<(), TestCaseError> {
        let faults = self.filesystem.faults();
        if !faults.is_empty() {
            return Err(TestCaseError::fail(faults.join("; ")));
        }
        let usage = self.filesystem.usage().inodes;
        self.check("inodes", &Ok(usage), &Ok(self.model.inodes()))?;
        for (path, thing) in &self.model.things {
            let path = if path.is_empty() { "." } else { path };
            self.stat(None, path, Follow::No)?;
            match thing {
                Thing::Link(target) => {
                    self.check(path, &self.root.read_link_of(path), &Ok(target.clone()))?;
                }
                Thing::File(number) => {
                    let file = self
                        .root
                        .open(path, Follow::No, Open::default(), 0)
                        .unwrap();
                    let content = &self.model.files[number].content;
                    let mut ours = vec![1; content.len()];
                    let read = file.read_at(0, &mut ours);
                    self.check(path, &read, &Ok(content.len()))?;
                    if ours != *content {
                        return Err(TestCaseError::fail(format!("{path} has other bytes")));
                    }
                }
                Thing::Directory => {
                    let node = self
                        .root
                        .open(path, Follow::No, Open::default(), 0)
                        .unwrap();
                    let prefix = if path == "." {
                        String::new()
                    } else {
                        format!("{path}/")
                    };
                    let below = self.model.things.keys();
                    let below = below.filter_map(|key| key.strip_prefix(&prefix));
                    let below = below.filter(|it| !it.is_empty() && !it.contains('/'));
                    let expected: Vec<_> = below.map(str::to_owned).collect();
                    let mut ours = names(&node);
                    ours.retain(|it| it != "." && it != "..");
                    self.check(path, &Ok(ours), &Ok(expected))?;
                }
            }
        }
        Ok(())
    }
}

fn kind_of(handle: &Handle) -> Kind {
    match handle {
        Handle::File(_) => Kind::File,
        Handle::Directory(_) | Handle::Dead => Kind::Directory,
    }
}

/// Whether a quota refused, where it may have had to.
fn is_full<T>(ours: &Result<T, Error>, tight: bool) -> bool {
    tight && matches!(ours, Err(Error::NoSpace | Error::Quota))
}

fn run(budget: Budget, inner: u64, sequences: u32) {
    let soak = std::env::var_os("AGENTVM_SOAK").is_some();
    let mut runner = TestRunner::new(ProptestConfig {
        cases: if soak { sequences * 10 } else { sequences },
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let calls = vec(any::<Raw>(), CALLS);
    let result = runner.run(&calls, |calls| {
        let mut both = Both::new(budget, inner);
        for call in calls {
            both.call(call)?;
        }
        both.finish()?;
        both.nodes.clear();
        both.model.handles.clear();
        let faults = both.filesystem.faults();
        if faults.is_empty() {
            Ok(())
        } else {
            Err(TestCaseError::fail(faults.join("; ")))
        }
    });
    result.unwrap();
}

#[test]
fn any_calls_leave_what_the_model_has() {
    let budget = Budget {
        bytes: 8 << 20,
        inodes: 1_000,
    };
    run(budget, 2 << 20, SEQUENCES);
}

#[test]
fn any_calls_within_tight_quotas_leave_what_the_model_has() {
    let budget = Budget {
        bytes: 150_000,
        inodes: 18,
    };
    run(budget, 66_000, SEQUENCES);
}
