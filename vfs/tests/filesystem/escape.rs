//! No path leads out of the directory that it starts from, and none to anything of the host.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use agentvm_vfs::{Error, Filesystem, Follow, MAX_SYMLINKS, Node, Open};
use proptest::prelude::{ProptestConfig, Strategy as _, prop, proptest};

use crate::seen::{READ, config, empty, mounted, names, read, snapshot, write};

/// A directory full of links, and a canary everywhere outside it.
fn fixture() -> (Filesystem, Node) {
    let filesystem = mounted(&[
        empty("/w"),
        empty("/other"),
        config("/cfg", &[("canary", "C")]),
    ]);
    let root = filesystem.root();
    for directory in ["w/base", "w/base/d", "w/base/d/e", "w/out"] {
        root.create_directory(directory, 0).unwrap();
    }
    for canary in ["w/canary", "other/canary", "w/out/canary"] {
        write(&root, canary, "C");
    }
    for file in ["w/base/f", "w/base/d/f", "w/base/d/e/f"] {
        write(&root, file, "inside");
    }
    for (link, target) in HOSTILE {
        root.symlink(target, &format!("w/base/{link}"), 0).unwrap();
    }
    let base = root.open("w/base", Follow::No, Open::default(), 0).unwrap();
    (filesystem, base)
}

const HOSTILE: [(&str, &str); 22] = [
    ("abs", "/w/canary"),
    ("etc", "/etc/passwd"),
    ("proc", "/proc/self/root"),
    ("root", "/"),
    ("roots", "///"),
    ("up", ".."),
    ("ups", "../"),
    ("upss", "..///"),
    ("two", "../.."),
    ("via", "d/../.."),
    ("canary", "../canary"),
    ("dotted", "./.././canary"),
    ("other", "../../other/canary"),
    ("d/up", "../.."),
    ("d/out", "../../out/canary"),
    ("d/e/up", "../../../out"),
    ("chain", "up/canary"),
    ("chains", "d/up/canary"),
    ("loop", "loop"),
    ("back", "d/e/../../f"),
    ("in", "d"),
    ("again", "../base/f"),
];

/// The inodes at and below a directory.
fn inside(base: &Node) -> BTreeSet<u64> {
    let mut inodes = BTreeSet::from([base.metadata().inode]);
    for path in snapshot(base).keys() {
        inodes.insert(base.metadata_of(path, Follow::No).unwrap().inode);
    }
    inodes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn a01_any_mix_of_dots_names_links_and_slashes_stays_inside(
        names in prop::collection::vec(prop::sample::select(vec![
            "..", "..", ".", "", "d", "e", "f", "up", "in", "two", "via", "root", "back", "canary", "base", "w", "again",
        ]), 1..12),
        follow in prop::bool::ANY.prop_map(|yes| if yes { Follow::Yes } else { Follow::No }),
    ) {
        thread_local!(static FIXTURE: (Filesystem, Node) = fixture());
        FIXTURE.with(|(_, base)| {
            let path = names.join("/");
            let allowed = inside(base);
            if let Ok(metadata) = base.metadata_of(&path, follow) {
                assert!(allowed.contains(&metadata.inode), "{path} leads out");
            }
            if let Ok(node) = base.open(&path, follow, READ, 0) {
                assert!(allowed.contains(&node.metadata().inode), "{path} leads out");
            }
        });
    }
}

#[test]
fn a01_dot_dot_above_the_base_is_refused_wherever_it_stands() {
    let (filesystem, base) = fixture();
    let many = "../".repeat(1_365);
    for path in [
        "..",
        "../",
        "../..",
        "./..",
        "d/../..",
        "d/../../base",
        "../base",
        "../base/f",
        "d/e/../../../canary",
        "in/../..",
        "in/../../canary",
        "in/e/../../..",
        "//w",
        "/",
        "/w/base",
        "/etc/passwd",
        &many,
    ] {
        let opened = base.open(path, Follow::Yes, Open::default(), 0).err();
        assert_eq!(opened, Some(Error::NotPermitted), "{path}");
        let stat = base.metadata_of(path, Follow::No).err();
        assert_eq!(stat, Some(Error::NotPermitted), "{path}");
    }
    let root = filesystem.root();
    assert_eq!(
        root.metadata_of("..", Follow::Yes).err(),
        Some(Error::NotPermitted)
    );
    assert_eq!(
        root.metadata_of("/w", Follow::Yes).err(),
        Some(Error::NotPermitted)
    );
    let longer = "../".repeat(5_000);
    assert_eq!(
        base.metadata_of(&longer, Follow::Yes).err(),
        Some(Error::NameTooLong)
    );
}

#[test]
fn a01_every_call_refuses_a_path_that_leads_out() {
    let (filesystem, base) = fixture();
    let before = snapshot(&filesystem.root());
    for path in [
        "../canary",
        "/w/canary",
        "up/canary",
        "root/w/canary",
        "d/up/canary",
        "../new",
        "up/new",
    ] {
        let refused = Err(Error::NotPermitted);
        assert_eq!(base.create_directory(path, 1), refused, "{path}");
        assert_eq!(base.remove_directory(path, 1), refused, "{path}");
        assert_eq!(base.unlink(path, 1), refused, "{path}");
        assert_eq!(base.symlink("t", path, 1), refused, "{path}");
        assert_eq!(base.rename(path, &base, "new", 1), refused, "{path}");
        assert_eq!(base.rename("f", &base, path, 1), refused, "{path}");
        assert_eq!(
            base.link(path, Follow::No, &base, "new", 1),
            refused,
            "{path}"
        );
        assert_eq!(
            base.link("f", Follow::No, &base, path, 1),
            refused,
            "{path}"
        );
        let create = Open {
            create: true,
            write: true,
            ..Open::default()
        };
        assert_eq!(
            base.open(path, Follow::Yes, create, 1).err(),
            Some(Error::NotPermitted),
            "{path}"
        );
    }
    assert_eq!(snapshot(&filesystem.root()), before);
}

#[test]
fn a02_an_absolute_link_is_kept_as_written_and_never_leads_to_the_host() {
    let (filesystem, base) = fixture();
    let root = filesystem.root();
    assert_eq!(base.read_link_of("etc").as_deref(), Ok("/etc/passwd"));
    assert_eq!(
        base.open("etc", Follow::Yes, READ, 0).err(),
        Some(Error::NotPermitted)
    );
    // From the root of everything it is resolved in the virtual root.
    assert_eq!(
        root.open("w/base/etc", Follow::Yes, READ, 0).err(),
        Some(Error::NoEntry)
    );
    let canary = root.open("w/base/abs", Follow::Yes, READ, 0).unwrap();
    assert!(canary.is_same(&root.open("w/canary", Follow::No, READ, 0).unwrap()));
    base.rename("abs", &base, "moved", 1).unwrap();
    assert_eq!(base.read_link_of("moved").as_deref(), Ok("/w/canary"));
    assert_eq!(
        base.metadata_of("moved", Follow::Yes).err(),
        Some(Error::NotPermitted)
    );
}

#[test]
fn a04_a_link_that_moves_up_still_does_not_lead_out() {
    let (_filesystem, base) = fixture();
    base.symlink("..", "d/e/parent", 0).unwrap();
    assert!(base.metadata_of("d/e/parent/f", Follow::Yes).is_ok());
    for slash in ["d/e/parent/", "d/e/parent//"] {
        assert_eq!(
            base.rename(slash, &base, "top", 1),
            Err(Error::NotDirectory)
        );
    }
    base.rename("d/e/parent", &base, "top", 1).unwrap();
    for path in ["top", "top/", "top/canary", "top/base/f"] {
        assert_eq!(
            base.metadata_of(path, Follow::Yes).err(),
            Some(Error::NotPermitted),
            "{path}"
        );
    }
}

#[test]
fn a06_links_planted_by_another_lead_nowhere_outside() {
    let (_filesystem, base) = fixture();
    let allowed = inside(&base);
    for (link, _) in HOSTILE {
        for path in [
            link.to_owned(),
            format!("{link}/"),
            format!("{link}/canary"),
        ] {
            for how in [
                Open::default(),
                READ,
                Open {
                    write: true,
                    ..READ
                },
            ] {
                match base.open(&path, Follow::Yes, how, 0) {
                    Ok(node) => assert!(allowed.contains(&node.metadata().inode), "{path}"),
                    Err(error) => assert!(
                        matches!(
                            error,
                            Error::NotPermitted
                                | Error::Loop
                                | Error::NotDirectory
                                | Error::NoEntry
                                | Error::IsDirectory
                        ),
                        "{path}: {error}"
                    ),
                }
            }
        }
    }
}

#[test]
fn a10_nothing_is_there_but_the_mounts() {
    let (filesystem, _base) = fixture();
    let root = filesystem.root();
    assert_eq!(names(&root), [".", "..", "cfg", "other", "w"]);
    for path in [
        "proc/self/root",
        "proc/1/environ",
        "dev/fd/3",
        "sys",
        "etc/shadow",
        "tmp",
        "var/run/secrets/kubernetes.io/serviceaccount/token",
        "run",
        "home",
        "root",
    ] {
        assert_eq!(
            root.metadata_of(path, Follow::Yes).err(),
            Some(Error::NoEntry),
            "{path}"
        );
        assert_eq!(
            root.open(path, Follow::Yes, READ, 0).err(),
            Some(Error::NoEntry),
            "{path}"
        );
    }
    let nothing = mounted(&[]);
    assert!(nothing.is_empty() && !filesystem.is_empty());
    assert_eq!(names(&nothing.root()), [".", ".."]);
}

#[test]
fn a11_swapping_a_directory_for_a_link_never_lets_an_open_out() {
    let (_filesystem, base) = fixture();
    base.create_directory("real", 0).unwrap();
    write(&base, "real/canary", "inside");
    base.symlink("../out", "fake", 0).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                base.rename("real", &base, "x", 0).unwrap();
                base.rename("fake", &base, "y", 0).unwrap();
                base.rename("y", &base, "x2", 0).unwrap();
                base.rename("x", &base, "real", 0).unwrap();
                base.rename("x2", &base, "fake", 0).unwrap();
            }
        });
        for _ in 0..100_000 {
            for path in ["real/canary", "fake/canary", "x/canary", "y/canary"] {
                if let Ok(node) = base.open(path, Follow::Yes, READ, 0) {
                    let mut content = [0; 10];
                    assert_eq!(node.read_at(0, &mut content), Ok(6));
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a15_forty_links_are_followed_and_no_more() {
    let (filesystem, base) = fixture();
    base.symlink("f", "c1", 0).unwrap();
    for hop in 2..=MAX_SYMLINKS + 1 {
        base.symlink(&format!("c{}", hop - 1), &format!("c{hop}"), 0)
            .unwrap();
    }
    assert_eq!(
        read(&base.open(".", Follow::No, READ, 0).unwrap(), "f"),
        "inside"
    );
    assert!(base.metadata_of("c40", Follow::Yes).is_ok());
    assert_eq!(
        base.metadata_of("c41", Follow::Yes).err(),
        Some(Error::Loop)
    );
    base.symlink("pong/x", "ping", 0).unwrap();
    base.symlink("ping/x", "pong", 0).unwrap();
    base.symlink("in/../self/self", "self", 0).unwrap();
    filesystem.take_work();
    for path in ["loop", "ping", "ping/", "self", "self/self/self"] {
        assert_eq!(
            base.metadata_of(path, Follow::Yes).err(),
            Some(Error::Loop),
            "{path}"
        );
        assert!(filesystem.take_work() < 1_000, "{path}");
    }
}

#[test]
fn a15_the_longest_way_through_links_is_bounded_and_counted() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    root.create_directory("d", 0).unwrap();
    // Each link goes in and out of a directory as often as its target can say, then on.
    let around = "d/../".repeat(800);
    root.symlink(&format!("{around}d"), "l1", 0).unwrap();
    for hop in 2..=40 {
        root.symlink(
            &format!("{around}l{}{}", hop - 1, "/".repeat(80)),
            &format!("l{hop}"),
            0,
        )
        .unwrap();
    }
    filesystem.take_work();
    let start = std::time::Instant::now();
    assert!(root.metadata_of("l40", Follow::Yes).is_ok());
    let (work, spent) = (filesystem.take_work(), start.elapsed());
    assert!((60_000..70_000).contains(&work), "{work} steps");
    assert!(spent.as_secs() < 2, "{spent:?} for {work} steps");
}
