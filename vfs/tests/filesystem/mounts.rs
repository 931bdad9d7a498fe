//! Mounts stay where they are, and nothing moves from one to another.

use agentvm_vfs::{
    Access, Budget, Error, File, Filesystem, Follow, MAX_MOUNTS, Mount, MountError, Open, Source,
};

use crate::seen::{config, empty, files, mounted, names, snapshot, write};

const BUDGET: Budget = Budget {
    bytes: 1 << 20,
    inodes: 1_000,
};

fn refused(mounts: &[Mount]) -> MountError {
    Filesystem::new(BUDGET, mounts, 0).unwrap_err()
}

#[test]
fn a09_nothing_is_renamed_or_linked_to_another_mount() {
    let filesystem = mounted(&[
        empty("/a"),
        empty("/b"),
        empty("/a/b"),
        config("/c", &[("k", "v")]),
    ]);
    let root = filesystem.root();
    write(&root, "a/f", "f");
    root.create_directory("a/d", 0).unwrap();
    root.symlink("f", "a/l", 0).unwrap();
    let before = snapshot(&root);
    for source in ["a/f", "a/d", "a/l", "a/missing"] {
        for target in ["b/x", "a/b/x", "c/x", "x", "b"] {
            assert_eq!(
                root.rename(source, &root, target, 1),
                Err(Error::CrossDevice),
                "{source} {target}"
            );
        }
    }
    for source in ["a/f", "a/l"] {
        for (target, error) in [
            ("b/x", Error::CrossDevice),
            ("a/b/x", Error::CrossDevice),
            ("c/x", Error::ReadOnly),
            ("x", Error::ReadOnly),
        ] {
            assert_eq!(
                root.link(source, Follow::No, &root, target, 1),
                Err(error),
                "{source} {target}"
            );
        }
    }
    assert_eq!(
        root.link("c/k", Follow::Yes, &root, "a/k", 1),
        Err(Error::CrossDevice)
    );
    assert_eq!(snapshot(&root), before);
}

#[test]
fn a09_a_mount_point_and_what_leads_to_it_stay() {
    let filesystem = mounted(&[empty("/w"), empty("/w/x/y"), empty("/o")]);
    let root = filesystem.root();
    let work = root.open("w", Follow::No, Open::default(), 0).unwrap();
    work.create_directory("d", 0).unwrap();
    let before = snapshot(&root);
    assert_eq!(work.rename("x", &work, "z", 1), Err(Error::Busy));
    assert_eq!(work.rename("x/y", &work, "z", 1), Err(Error::Busy));
    assert_eq!(work.rename("d", &work, "x/y", 1), Err(Error::Busy));
    assert_eq!(work.rename("d", &work, "x", 1), Err(Error::Busy));
    assert_eq!(work.remove_directory("x/y", 1), Err(Error::Busy));
    assert_eq!(work.remove_directory("x", 1), Err(Error::Busy));
    assert_eq!(work.unlink("x/y", 1), Err(Error::IsDirectory));
    assert_eq!(root.remove_directory("w", 1), Err(Error::ReadOnly));
    assert_eq!(root.rename("w", &root, "v", 1), Err(Error::ReadOnly));
    assert_eq!(root.rename("w", &root, "o", 1), Err(Error::ReadOnly));
    assert_eq!(work.rename(".", &root, "o", 1), Err(Error::CrossDevice));
    assert_eq!(snapshot(&root), before);
    // What is beside the mount, in a directory that leads to it, is free to move.
    work.create_directory("x/beside", 1).unwrap();
    work.rename("x/beside", &work, "moved", 1).unwrap();
}

#[test]
fn dot_dot_of_a_mount_leads_to_the_directory_around_it() {
    let filesystem = mounted(&[empty("/w"), empty("/w/x/y")]);
    let root = filesystem.root();
    write(&root, "w/f", "f");
    assert!(root.metadata_of("w/x/y/../../f", Follow::Yes).is_ok());
    let inode = root.metadata_of("w/x", Follow::Yes).unwrap().inode;
    let mut above = None;
    root.open("w/x/y", Follow::No, Open::default(), 0)
        .unwrap()
        .read_dir(1, &mut |entry| {
            above = Some((entry.name.to_owned(), entry.inode));
            std::ops::ControlFlow::Break(())
        })
        .unwrap();
    assert_eq!(above, Some(("..".to_owned(), inode)));
}

#[test]
fn each_mount_is_a_device_of_its_own_and_one_may_be_the_root() {
    let filesystem = mounted(&[empty("/"), empty("/m")]);
    let root = filesystem.root();
    write(&root, "f", "f");
    write(&root, "m/f", "f");
    let devices = ["f", "m", "m/f"].map(|path| root.metadata_of(path, Follow::No).unwrap().device);
    assert_eq!(devices, [1, 2, 2]);
    assert_eq!(names(&root), [".", "..", "f", "m"]);
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn mounts_and_what_leads_to_them_cost_nothing() {
    let filesystem = mounted(&[empty("/w"), empty("/w/x/y"), empty("/a/b/c")]);
    let usage = filesystem.usage();
    assert_eq!((usage.bytes, usage.inodes), (0, 0));
}

#[test]
fn a21_mounts_that_are_not_canonical_or_collide_are_refused() {
    let too_long = format!("/{}", "n".repeat(256));
    for path in [
        "", "w", "/w/", "//", "/w//x", "/./w", "/w/..", "/..", "/w\0", &too_long,
    ] {
        let error = refused(&[empty(path)]);
        assert!(
            matches!(error, MountError::Path { .. }),
            "{path:?}: {error}"
        );
    }
    let error = refused(&[empty("/w"), empty("/w")]);
    assert!(matches!(error, MountError::Twice { .. }), "{error}");
    let many: Vec<_> = (0..=MAX_MOUNTS)
        .map(|number| empty(&format!("/{number}")))
        .collect();
    let error = refused(&many);
    assert!(
        matches!(error, MountError::TooMany { count: 33 }),
        "{error}"
    );
    for below in [
        "/c/k",
        "/c/k/x",
        "/c/dir",
        "/c/..data",
        "/c/..1",
        "/c/..x/y",
    ] {
        let error = refused(&[config("/c", &[("k", "v"), ("dir/k", "v")]), empty(below)]);
        assert_eq!(
            error,
            MountError::Covered {
                path: below.to_owned()
            }
        );
    }
    let fine = [
        config("/c", &[("k", "v")]),
        empty("/c/other/x"),
        config("/", &[("k", "v")]),
    ];
    let filesystem = Filesystem::new(BUDGET, &fine, 0).unwrap();
    assert_eq!(
        names(&filesystem.root()),
        [".", "..", "..1", "..data", "c", "k"]
    );
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn files_with_names_that_are_not_canonical_are_refused() {
    let deep = "d/".repeat(600) + "f";
    for name in [
        "", "/k", "k/", "a//b", "./k", "a/../b", "..", "..data", "..k/x", "a\0b", &deep,
    ] {
        let error = refused(&[config("/c", &[(name, "v")])]);
        assert!(
            matches!(error, MountError::File { .. }),
            "{name:?}: {error}"
        );
    }
    let error = refused(&[config("/c", &[("a", "v"), ("a/b", "v")])]);
    assert!(matches!(error, MountError::File { .. }), "{error}");
}

#[test]
fn a_swap_changes_all_files_at_once_and_leaves_open_ones() {
    let filesystem = mounted(&[
        config("/c", &[("a", "1"), ("d/b", "1"), ("gone", "1")]),
        empty("/c/m"),
    ]);
    let root = filesystem.root();
    let open = root.open("c/a", Follow::Yes, crate::seen::READ, 0).unwrap();
    let old = root
        .open("c/..data/d", Follow::Yes, Open::default(), 0)
        .unwrap();
    write(&root, "c/m/f", "mine");
    let before = filesystem.usage();
    filesystem
        .swap(
            "/c",
            &files(&[("a", "22"), ("d/b", "22"), ("new", "22")]),
            5,
        )
        .unwrap();
    let mut buffer = [0; 4];
    assert_eq!(open.read_at(0, &mut buffer), Ok(1));
    assert_eq!(
        old.metadata_of("b", Follow::Yes).err(),
        Some(Error::NoEntry)
    );
    let again = root.open("c/a", Follow::Yes, crate::seen::READ, 0).unwrap();
    assert_eq!(again.read_at(0, &mut buffer), Ok(2));
    let directory = root.open("c", Follow::Yes, Open::default(), 0).unwrap();
    assert_eq!(
        names(&directory),
        [".", "..", "..2", "..data", "a", "d", "m", "new"]
    );
    assert_eq!(directory.metadata().modified, 5);
    assert_eq!(filesystem.faults(), Vec::<String>::new());
    assert_eq!(filesystem.usage().inodes, before.inodes + 2);
    drop((open, old));
    assert_eq!(filesystem.usage().inodes, before.inodes);
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn b08_a_swap_that_has_no_room_changes_nothing() {
    let budget = Budget {
        bytes: 4_000,
        inodes: 12,
    };
    let mounts = [
        config("/c", &[("a", "1"), ("b", "1")]),
        empty("/w"),
        empty("/c/m"),
    ];
    let filesystem = Filesystem::new(budget, &mounts, 0).unwrap();
    let root = filesystem.root();
    let before = (snapshot(&root), filesystem.usage().bytes);
    let large = "x".repeat(4_000);
    let many: Vec<_> = (0..7).map(|number| (format!("k{number}"), "v")).collect();
    let many: Vec<_> = many
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    for content in [
        &[("a", large.as_str())][..],
        &many,
        &[("m", "1")],
        &[("../x", "1")],
    ] {
        assert!(
            filesystem.swap("/c", &files(content), 1).is_err(),
            "{content:?}"
        );
        assert_eq!((snapshot(&root), filesystem.usage().bytes), before);
        assert_eq!(filesystem.faults(), Vec::<String>::new());
    }
    for path in ["/w", "/x", "/", "c", "/c/m"] {
        let error = filesystem.swap(path, &files(&[]), 1);
        assert!(matches!(error, Err(MountError::NotFiles { .. })), "{path}");
    }
    // What the old files leave is room for the new ones, and nothing is left of nothing.
    filesystem
        .swap("/c", &files(&[("a", &large[..2_000])]), 1)
        .unwrap();
    filesystem
        .swap("/c", &files(&[("b", &large[..2_000])]), 1)
        .unwrap();
    filesystem.swap("/c", &files(&[]), 1).unwrap();
    assert_eq!(filesystem.usage().inodes, 2);
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn files_that_exceed_the_budget_are_refused_with_the_numbers() {
    let large = "x".repeat(2 << 20);
    let error = refused(&[config("/c", &[("k", &large)])]);
    let MountError::NoSpace { needed, left, .. } = error else {
        panic!("{error}");
    };
    assert!(needed > 2 << 20);
    assert_eq!(left, BUDGET.bytes);
}

#[test]
fn what_a_mount_holds_is_not_in_what_it_prints() {
    let file = File {
        data: b"hunter2".as_slice().into(),
        mode: 0o400,
    };
    let mount = Mount {
        path: "/s".to_owned(),
        access: Access::ReadOnly,
        source: Source::Files([("password".to_owned(), file)].into()),
    };
    let filesystem = mounted(std::slice::from_ref(&mount));
    let node = filesystem
        .root()
        .open("s/password", Follow::Yes, Open::default(), 0)
        .unwrap();
    assert!(!format!("{mount:?} {filesystem:?} {node:?}").contains("hunter2"));
}

#[test]
fn b08_a_swap_counts_what_stays_open_and_no_mount_as_room() {
    let budget = Budget {
        bytes: 20_000,
        inodes: 100,
    };
    let large = "x".repeat(9_000);
    let filesystem = Filesystem::new(budget, &[config("/c", &[("a", &large)])], 0).unwrap();
    let root = filesystem.root();
    let open = root.open("c/a", Follow::Yes, Open::default(), 0).unwrap();
    filesystem.swap("/c", &files(&[("a", &large)]), 0).unwrap();
    let again = root.open("c/a", Follow::Yes, Open::default(), 0).unwrap();
    let refused = filesystem.swap("/c", &files(&[("a", &large)]), 0);
    assert!(matches!(refused, Err(MountError::NoSpace { .. })));
    drop((open, again));
    filesystem.swap("/c", &files(&[("a", &large)]), 0).unwrap();
    assert_eq!(filesystem.faults(), Vec::<String>::new());

    let budget = Budget {
        bytes: 20_000,
        inodes: 6,
    };
    let mounts = [
        config("/c", &[("a", "1")]),
        empty("/c/m"),
        empty("/c/n"),
        empty("/w"),
    ];
    let filesystem = Filesystem::new(budget, &mounts, 0).unwrap();
    let root = filesystem.root();
    write(&root, "w/f", "f");
    write(&root, "w/g", "g");
    let refused = filesystem.swap("/c", &files(&[("a", "1"), ("b", "1")]), 0);
    assert!(matches!(refused, Err(MountError::NoSpace { .. })));
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn a09_nothing_is_renamed_or_linked_to_another_vm() {
    let (one, other) = (mounted(&[empty("/")]), mounted(&[empty("/")]));
    let (root, other_root) = (one.root(), other.root());
    write(&root, "f", "f");
    let across = Err(Error::CrossDevice);
    assert_eq!(root.rename("f", &other_root, "f", 0), across);
    assert_eq!(root.link("f", Follow::No, &other_root, "f", 0), across);
    assert!(!root.is_same(&other_root) && root.is_same(&one.root()));
    assert_eq!(names(&other_root), [".", ".."]);
}
