//! The VM that these tests look at: its mounts, and a component that makes the test's calls.

use std::collections::BTreeMap;

use agentvm_fuzz_driver::preview2::calls::{CREATE, FOLLOW, READ, Reply, WRITE};
use agentvm_fuzz_driver::{Arg, Guest, Interface, Memory, Ran, Script, limits};
use agentvm_policy::Limits;
use agentvm_runtime::vfs::{Access, Budget, File, Filesystem, Mount, Source};

/// The VM's `limits.storage`.
pub(crate) const STORAGE: u64 = 1 << 20;
/// The VM's `limits.inodes`.
pub(crate) const INODES: u64 = 200;

/// `/work` and `/work/deep/other` can be written, `/work/frozen` can't, and `/etc/config` holds
/// the files of a `ConfigMap`.
pub(crate) fn filesystem() -> Filesystem {
    let empty = || Source::Empty { max_bytes: None };
    let file = File {
        data: b"a=1".as_slice().into(),
        mode: 0o644,
    };
    let hidden = File {
        data: b"hidden".as_slice().into(),
        mode: 0,
    };
    let files = [("app.conf", file), ("hidden", hidden)];
    let files = files.map(|(name, file)| (name.to_owned(), file));
    let mounts = [
        ("/work", Access::ReadWrite, empty()),
        ("/work/deep/other", Access::ReadWrite, empty()),
        ("/work/frozen", Access::ReadOnly, empty()),
        (
            "/etc/config",
            Access::ReadOnly,
            Source::Files(BTreeMap::from(files)),
        ),
    ];
    let mounts = mounts.map(|(path, access, source)| Mount {
        path: path.to_owned(),
        access,
        source,
    });
    let budget = Budget {
        bytes: STORAGE,
        inodes: INODES,
    };
    Filesystem::new(budget, &mounts, 1).unwrap()
}

/// A component's calls, and the directory they begin at.
pub(crate) struct Calls {
    pub(crate) script: Script,
    pub(crate) root: Arg,
}

impl Calls {
    pub(crate) fn new() -> Self {
        let mut script = Script::default();
        let root = script.root();
        Self { script, root }
    }

    /// Opens a file to be read and written, and makes it where there is none.
    pub(crate) fn create(&mut self, path: &str) -> Arg {
        self.open(path, CREATE, READ | WRITE).handle()
    }

    /// Opens what is there to be read.
    pub(crate) fn directory(&mut self, path: &str) -> Arg {
        self.open(path, 0, READ).handle()
    }

    pub(crate) fn open(&mut self, path: &str, open: u32, flags: u32) -> Reply {
        self.script.open_at(self.root, FOLLOW, path, open, flags)
    }

    /// A call on a path below `/` that answers with nothing but how it went.
    pub(crate) fn at(&mut self, name: &str, path: &str) -> Reply {
        self.script.at(name, self.root, path)
    }

    /// Makes a file with content.
    pub(crate) fn write_file(&mut self, path: &str, bytes: &[u8]) -> Arg {
        let file = self.create(path);
        self.script.write(file, bytes, 0);
        file
    }

    /// Runs the calls on a filesystem of their own.
    pub(crate) fn run(self) -> Memory {
        self.run_on(&filesystem())
    }

    pub(crate) fn run_on(self, filesystem: &Filesystem) -> Memory {
        let ran = self.run_with(filesystem, limits());
        assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
        ran.memory
    }

    pub(crate) fn run_with(self, filesystem: &Filesystem, limits: Limits) -> Ran {
        Guest::of(Interface::Preview2).run(self.script, filesystem, limits)
    }
}

/// The entries of a directory, in the order they are told.
pub(crate) fn entries(filesystem: &Filesystem, path: &str, most: usize) -> Vec<(u8, String)> {
    let mut calls = Calls::new();
    let directory = calls.directory(path);
    let listing = calls.script.stream_of("read-directory", directory).handle();
    let replies: Vec<Reply> = (0..most)
        .map(|_| calls.script.next_entry(listing))
        .collect();
    let memory = calls.run_on(filesystem);
    let told = replies.iter().map_while(|&reply| {
        assert_eq!(memory.code(reply), "ok");
        memory.entry(reply)
    });
    told.collect()
}

pub(crate) fn names(filesystem: &Filesystem, path: &str) -> Vec<String> {
    let mut names: Vec<String> = entries(filesystem, path, 50)
        .into_iter()
        .map(|(_, name)| name)
        .collect();
    names.sort();
    names
}
