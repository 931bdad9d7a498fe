//! Every operation on every form of a path gives what Linux gives: the kernel is asked each time.
//!
//! Where a path leads out of its directory, WASI refuses it; the kernel confirms that it does by
//! `openat2` with `RESOLVE_BENEATH`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use agentvm_vfs::{Error, Follow, Node, Open, SetTime};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, proptest};
use proptest::sample;
use rustix::fd::OwnedFd;
use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_NOW, linkat, mkdirat,
    openat, openat2, readlinkat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::seen::{empty, mounted, snapshot, write};

/// Directories of the fixture, with what leads to them.
const DIRECTORIES: [&str; 4] = ["d", "n", "n/sub", "n/sub/deep"];
const FILES: [&str; 3] = ["f", "n/f", "n/sub/f"];
const LINKS: [(&str, &str); 22] = [
    ("lf", "f"),
    ("lfs", "f/"),
    ("ld", "n"),
    ("lds", "n/"),
    ("ldss", "n///"),
    ("le", "d"),
    ("les", "d/"),
    ("dang", "missing"),
    ("dangs", "missing/"),
    ("dangd", "missing/x"),
    ("dangn", "n/missing"),
    ("loop", "loop"),
    ("ping", "pong"),
    ("pong", "./ping"),
    ("abs", "/etc"),
    ("root", "/"),
    ("up", ".."),
    ("dot", "."),
    ("dots", "n/.."),
    ("n/back", "../f"),
    ("n/up", ".."),
    ("n/out", "../.."),
];

const NAMES: [&str; 47] = [
    "d",
    "n",
    "n/sub",
    "n/sub/deep",
    "f",
    "g",
    "n/f",
    "lf",
    "lfs",
    "ld",
    "lds",
    "ldss",
    "le",
    "les",
    "dang",
    "dangs",
    "dangd",
    "dangn",
    "loop",
    "ping",
    "abs",
    "root",
    "up",
    "dot",
    "dots",
    "n/back",
    "n/up",
    "n/out",
    "missing",
    "missing/x",
    "f/x",
    "lf/x",
    "ld/f",
    "ld/sub",
    "n/up/f",
    "n/out/x",
    "c40",
    "c41",
    "d/new",
    "ld/new",
    ".",
    "..",
    "n/..",
    "d/../f",
    "./f",
    "dang/x",
    "n/../../x",
];
const SUFFIXES: [&str; 7] = ["", "/", "///", "/.", "/..", "/./", "/../"];

fn open(change: impl FnOnce(&mut Open)) -> Open {
    let mut how = Open::default();
    change(&mut how);
    how
}

/// A fixture twice: in a directory of the host, and in a filesystem of ours.
struct Both {
    _directory: tempfile::TempDir,
    host_path: std::path::PathBuf,
    host: OwnedFd,
    ours: Node,
    filesystem: agentvm_vfs::Filesystem,
}

impl Both {
    fn new() -> Self {
        let in_memory = tempfile::tempdir_in("/dev/shm");
        let directory = in_memory.or_else(|_| tempfile::tempdir()).unwrap();
        let host_path = directory.path().join("above/base");
        fs::create_dir_all(&host_path).unwrap();
        let filesystem = mounted(&[empty("/")]);
        let root = filesystem.root();
        root.create_directory("base", 0).unwrap();
        let ours = root.open("base", Follow::No, Open::default(), 0).unwrap();
        for path in DIRECTORIES {
            fs::create_dir(host_path.join(path)).unwrap();
            ours.create_directory(path, 0).unwrap();
        }
        for path in FILES {
            fs::write(host_path.join(path), path).unwrap();
            write(&ours, path, path);
        }
        let chain = (1..=41).map(|hop| match hop {
            1 => ("c1".to_owned(), "f".to_owned()),
            _ => (format!("c{hop}"), format!("c{}", hop - 1)),
        });
        let links = LINKS.map(|(path, target)| (path.to_owned(), target.to_owned()));
        for (path, target) in links.into_iter().chain(chain) {
            std::os::unix::fs::symlink(&target, host_path.join(&path)).unwrap();
            ours.symlink(&target, &path, 0).unwrap();
        }
        fs::hard_link(host_path.join("f"), host_path.join("g")).unwrap();
        ours.link("f", Follow::No, &ours, "g", 0).unwrap();
        let host = openat(CWD, &host_path, OFlags::DIRECTORY, Mode::empty()).unwrap();
        Self {
            _directory: directory,
            host_path,
            host,
            ours,
            filesystem,
        }
    }

    /// Whether the kernel, too, finds that a path leads out.
    fn leads_out(&self, path: &str) -> bool {
        let above = path.trim_end_matches('/').rsplit_once('/');
        let above = above.map_or(path, |(above, _)| above);
        let tries = [
            (path, OFlags::PATH),
            (path, OFlags::PATH | OFlags::NOFOLLOW),
            (above, OFlags::PATH),
        ];
        tries.iter().any(|(path, flags)| {
            let opened = openat2(
                &self.host,
                *path,
                *flags,
                Mode::empty(),
                ResolveFlags::BENEATH,
            );
            opened.is_err_and(|error| error == Errno::XDEV)
        })
    }

    fn is_alike(&self) -> Result<(), String> {
        let (host, ours) = (host_snapshot(&self.host_path), snapshot(&self.ours));
        let faults = self.filesystem.faults();
        if host == ours && faults.is_empty() {
            return Ok(());
        }
        Err(format!(
            "Linux has {host:#?}, we have {ours:#?}, {faults:?}"
        ))
    }
}

fn host_snapshot(base: &Path) -> BTreeMap<String, String> {
    let mut seen = BTreeMap::new();
    let mut directories = vec![base.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let what = if metadata.is_dir() {
                directories.push(path.clone());
                "directory".to_owned()
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                let content = fs::read_to_string(&path).unwrap();
                format!("{} {content:?}", metadata.nlink())
            };
            let path = path.strip_prefix(base).unwrap().to_str().unwrap();
            seen.insert(path.to_owned(), what);
        }
    }
    seen
}

fn named(errno: Errno) -> Error {
    match errno {
        Errno::ACCESS => Error::Access,
        Errno::BUSY => Error::Busy,
        Errno::EXIST => Error::Exists,
        Errno::INVAL => Error::Invalid,
        Errno::ISDIR => Error::IsDirectory,
        Errno::LOOP => Error::Loop,
        Errno::NAMETOOLONG => Error::NameTooLong,
        Errno::NOENT => Error::NoEntry,
        Errno::NOTDIR => Error::NotDirectory,
        Errno::NOTEMPTY => Error::NotEmpty,
        Errno::PERM => Error::NotPermitted,
        other => panic!("Linux says {other}"),
    }
}

/// One call with its paths left out.
#[derive(Clone, Copy, Debug)]
enum Call {
    Open(Follow, Open),
    Stat(Follow),
    SetTimes(Follow),
    ReadLink,
    CreateDirectory,
    RemoveDirectory,
    Unlink,
    Symlink,
    Rename,
    Link(Follow),
}

impl Call {
    fn ours(self, base: &Node, path: &str, to: &str) -> Result<String, Error> {
        let done = |()| String::new();
        match self {
            Self::Open(follow, how) => base
                .open(path, follow, how, 0)
                .map(|node| format!("{:?}", node.kind())),
            Self::Stat(follow) => base.metadata_of(path, follow).map(|metadata| {
                let size = metadata.size;
                format!("{:?} {size}", metadata.kind)
            }),
            Self::SetTimes(follow) => base
                .set_times_of(path, follow, SetTime::Now, SetTime::Now, 0)
                .map(done),
            Self::ReadLink => base.read_link_of(path),
            Self::CreateDirectory => base.create_directory(path, 0).map(done),
            Self::RemoveDirectory => base.remove_directory(path, 0).map(done),
            Self::Unlink => base.unlink(path, 0).map(done),
            Self::Symlink => base.symlink("target", path, 0).map(done),
            Self::Rename => base.rename(path, base, to, 0).map(done),
            Self::Link(follow) => base.link(path, follow, base, to, 0).map(done),
        }
    }

    fn linux(self, base: &OwnedFd, path: &str, to: &str) -> Result<String, Errno> {
        let done = |()| String::new();
        match self {
            Self::Open(follow, how) => {
                let file = openat(
                    base,
                    path,
                    flags(follow, how),
                    Mode::from_bits_retain(0o644),
                )?;
                let stat = rustix::fs::fstat(&file)?;
                Ok(kind(&stat).to_owned())
            }
            Self::Stat(follow) => {
                let stat = statat(base, path, at(follow, AtFlags::SYMLINK_NOFOLLOW))?;
                let size = if kind(&stat) == "Directory" {
                    0
                } else {
                    stat.st_size
                };
                Ok(format!("{} {size}", kind(&stat)))
            }
            Self::SetTimes(follow) => {
                let now = Timespec {
                    tv_sec: 0,
                    tv_nsec: UTIME_NOW,
                };
                let times = Timestamps {
                    last_access: now,
                    last_modification: now,
                };
                utimensat(base, path, &times, at(follow, AtFlags::SYMLINK_NOFOLLOW)).map(done)
            }
            Self::ReadLink => {
                let target = readlinkat(base, path, Vec::new())?;
                Ok(target.into_string().unwrap())
            }
            Self::CreateDirectory => mkdirat(base, path, Mode::from_bits_retain(0o755)).map(done),
            Self::RemoveDirectory => unlinkat(base, path, AtFlags::REMOVEDIR).map(done),
            Self::Unlink => unlinkat(base, path, AtFlags::empty()).map(done),
            Self::Symlink => symlinkat("target", base, path).map(done),
            Self::Rename => renameat(base, path, base, to).map(done),
            Self::Link(follow) => {
                let flags = match follow {
                    Follow::Yes => AtFlags::SYMLINK_FOLLOW,
                    Follow::No => AtFlags::empty(),
                };
                linkat(base, path, base, to, flags).map(done)
            }
        }
    }
}

fn at(follow: Follow, flag: AtFlags) -> AtFlags {
    match follow {
        Follow::Yes => AtFlags::empty(),
        Follow::No => flag,
    }
}

fn flags(follow: Follow, how: Open) -> OFlags {
    let mut flags = if how.write {
        OFlags::RDWR
    } else {
        OFlags::RDONLY
    };
    flags.set(OFlags::CREATE, how.create);
    flags.set(OFlags::EXCL, how.exclusive);
    flags.set(OFlags::DIRECTORY, how.directory);
    flags.set(OFlags::TRUNC, how.truncate);
    flags.set(OFlags::NOFOLLOW, follow == Follow::No);
    flags
}

fn kind(stat: &rustix::fs::Stat) -> &'static str {
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind == rustix::fs::FileType::Directory {
        "Directory"
    } else if kind == rustix::fs::FileType::Symlink {
        "Symlink"
    } else {
        "File"
    }
}

/// How many rows were compared, and how many of them led out.
#[derive(Debug, Default)]
struct Rows {
    compared: u32,
    succeeded: u32,
    led_out: u32,
    wrong: Vec<String>,
}

impl Both {
    /// One call on both; none where its path leads out, for both.
    fn call(&self, call: Call, path: &str, to: &str) -> Option<(Outcome, Outcome)> {
        let ours = call.ours(&self.ours, path, to);
        if ours == Err(Error::NotPermitted) && (self.leads_out(path) || self.leads_out(to)) {
            return None;
        }
        Some((ours, call.linux(&self.host, path, to).map_err(named)))
    }
}

type Outcome = Result<String, Error>;

/// Compares all rows; what succeeds starts the next row from a new fixture.
fn compare(rows: impl Iterator<Item = (Call, String, String)>) -> Rows {
    let mut both = Both::new();
    let mut done = Rows::default();
    for (call, path, to) in rows {
        done.compared += 1;
        let Some((ours, linux)) = both.call(call, &path, &to) else {
            done.led_out += 1;
            continue;
        };
        if ours != linux {
            done.wrong.push(format!(
                "{call:?} {path:?} {to:?}: Linux says {linux:?}, we say {ours:?}"
            ));
        }
        if ours.is_ok() || linux.is_ok() {
            done.succeeded += 1;
            if let Err(difference) = both.is_alike() {
                done.wrong
                    .push(format!("after {call:?} {path:?} {to:?}: {difference}"));
            }
            if !matches!(call, Call::Stat(_) | Call::ReadLink | Call::SetTimes(_)) {
                both = Both::new();
            }
        }
    }
    both.is_alike().unwrap();
    done
}

fn paths() -> impl Iterator<Item = String> + Clone {
    let long = ["", "y".repeat(255).leak(), "z".repeat(256).leak()].into_iter();
    let names = NAMES.into_iter().chain(long);
    names.flat_map(|name| {
        let forms = SUFFIXES.map(|suffix| format!("{name}{suffix}"));
        forms.into_iter().filter(|path| !path.starts_with('/'))
    })
}

fn check(rows: impl Iterator<Item = (Call, String, String)>, at_least: u32) {
    let done = compare(rows);
    let wrong = done.wrong.join("\n");
    assert!(
        done.wrong.is_empty(),
        "{} of {} rows:\n{wrong}",
        done.wrong.len(),
        done.compared
    );
    assert!(
        done.compared >= at_least && done.succeeded > 0 && done.led_out > 0,
        "{done:?}"
    );
}

#[test]
fn a03_opening_any_form_of_a_path_gives_what_linux_gives() {
    let ways = [
        open(|how| how.read = true),
        open(|how| how.write = true),
        open(|how| how.directory = true),
        open(|how| how.truncate = true),
        open(|how| how.create = true),
        open(|how| (how.create, how.exclusive) = (true, true)),
        open(|how| (how.create, how.truncate, how.write) = (true, true, true)),
    ];
    let ways = ways
        .into_iter()
        .flat_map(|how| [Follow::Yes, Follow::No].map(|follow| Call::Open(follow, how)));
    let rows = ways.flat_map(|call| paths().map(move |path| (call, path, String::new())));
    check(rows, 4_000);
}

#[test]
fn a03_every_call_on_any_form_of_a_path_gives_what_linux_gives() {
    let calls = [
        Call::Stat(Follow::Yes),
        Call::Stat(Follow::No),
        Call::SetTimes(Follow::Yes),
        Call::SetTimes(Follow::No),
        Call::ReadLink,
        Call::CreateDirectory,
        Call::RemoveDirectory,
        Call::Unlink,
        Call::Symlink,
    ];
    let rows = calls
        .into_iter()
        .flat_map(|call| paths().map(move |path| (call, path, String::new())));
    check(rows, 2_500);
}

/// Forms that matter for a call with two paths.
const PAIRED: [&str; 44] = [
    "d",
    "d/",
    "d/.",
    "d/..",
    "n",
    "n/",
    "n/sub",
    "n/sub/",
    "n/sub/deep",
    "n/sub/deep/x",
    "n/x",
    "f",
    "f/",
    "g",
    "n/f",
    "n/f/",
    "n/new",
    "n/new/",
    "f/x",
    "lf",
    "lf/",
    "ld",
    "ld/",
    "ld/sub",
    "ld/new",
    "le",
    "le/",
    "dang",
    "dang/",
    "dangs",
    "loop",
    "loop/",
    "missing",
    "missing/",
    "missing/x",
    ".",
    "./",
    "..",
    "n/..",
    "up/x",
    "abs/x",
    "dot/f",
    "",
    "n/out",
];

#[test]
fn a04_renaming_any_form_to_any_form_gives_what_linux_gives() {
    let rows = PAIRED
        .into_iter()
        .flat_map(|from| PAIRED.map(|to| (Call::Rename, from.to_owned(), to.to_owned())));
    check(rows, 1_900);
}

#[test]
fn a04_linking_any_form_to_any_form_gives_what_linux_gives() {
    let rows = PAIRED.into_iter().flat_map(|from| {
        PAIRED.into_iter().flat_map(move |to| {
            [Follow::Yes, Follow::No]
                .map(|follow| (Call::Link(follow), from.to_owned(), to.to_owned()))
        })
    });
    check(rows, 3_800);
}

#[test]
fn calls_on_a_removed_directory_give_what_linux_gives() {
    let both = Both::new();
    let dead = openat(&both.host, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
    let ours = both.ours.open("d", Follow::No, Open::default(), 0).unwrap();
    unlinkat(&both.host, "d", AtFlags::REMOVEDIR).unwrap();
    both.ours.remove_directory("d", 0).unwrap();
    let calls = [
        Call::Open(Follow::Yes, open(|how| how.read = true)),
        Call::Open(Follow::Yes, open(|how| how.create = true)),
        Call::Open(
            Follow::No,
            open(|how| (how.create, how.exclusive) = (true, true)),
        ),
        Call::Stat(Follow::Yes),
        Call::SetTimes(Follow::No),
        Call::ReadLink,
        Call::CreateDirectory,
        Call::RemoveDirectory,
        Call::Unlink,
        Call::Symlink,
        Call::Rename,
        Call::Link(Follow::No),
    ];
    for call in calls {
        for path in ["x", "x/", "x/y", ".", "./", "./x", ""] {
            for to in ["z", ".", "./z/", "z/z"] {
                let linux = call.linux(&dead, path, to).map_err(named);
                assert_eq!(
                    call.ours(&ours, path, to),
                    linux,
                    "{call:?} {path:?} {to:?}"
                );
            }
        }
    }
    let into = both.ours.rename("f", &ours, "x", 0);
    assert_eq!(into, renameat(&both.host, "f", &dead, "x").map_err(named));
    let into = both.ours.link("f", Follow::No, &ours, "x", 0);
    let linux = linkat(&both.host, "f", &dead, "x", AtFlags::empty());
    assert_eq!(into, linux.map_err(named));
    both.is_alike().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_of_calls_leaves_what_linux_leaves(
        calls in vec((0..11_usize, sample::select(&PAIRED[..]), sample::select(&PAIRED[..])), 40)
    ) {
        let both = Both::new();
        for (number, path, to) in calls {
            let call = [
                Call::Open(Follow::Yes, open(|how| how.create = true)),
                Call::Open(Follow::No, open(|how| (how.create, how.truncate) = (true, true))),
                Call::Stat(Follow::Yes),
                Call::CreateDirectory,
                Call::RemoveDirectory,
                Call::Unlink,
                Call::Symlink,
                Call::Rename,
                Call::Rename,
                Call::Link(Follow::Yes),
                Call::Link(Follow::No),
            ][number];
            if let Some((ours, linux)) = both.call(call, path, to) {
                assert_eq!(ours, linux, "{call:?} {path:?} {to:?}");
            }
        }
        both.is_alike().unwrap();
    }
}
