//! Shows that each guard holds something back: without it, what it refuses is done.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use agentvm_vfs::guards::{Guard, switch_off};
use agentvm_vfs::{
    Access, Budget, Error, File, Filesystem, Follow, Growth, MAX_DEPTH, MAX_LINKS, Mount, Node,
    Open, Source,
};

fn mount(path: &str, access: Access, max_bytes: Option<u64>) -> Mount {
    Mount {
        path: path.to_owned(),
        access,
        source: Source::Empty { max_bytes },
    }
}

/// `/w` and `/m`, which has a limit of its own, to be written; `/ro`; `/cfg` with a file that
/// nobody may read.
fn fixture() -> (Filesystem, Node) {
    let secret = File {
        data: b"secret".as_slice().into(),
        mode: 0o044,
    };
    let mounts = [
        mount("/w", Access::ReadWrite, None),
        mount("/w/inner", Access::ReadWrite, None),
        mount("/m", Access::ReadWrite, Some(2_000)),
        mount("/ro", Access::ReadOnly, None),
        Mount {
            path: "/cfg".to_owned(),
            access: Access::ReadOnly,
            source: Source::Files([("key".to_owned(), secret)].into()),
        },
    ];
    let budget = Budget {
        bytes: 100_000,
        inodes: 1_000,
    };
    let filesystem = Filesystem::new(budget, &mounts, 0).unwrap();
    let root = filesystem.root();
    (filesystem, root)
}

const WRITE: Open = Open {
    create: true,
    exclusive: false,
    directory: false,
    truncate: false,
    write: true,
    read: true,
};

fn create(base: &Node, path: &str) -> Result<Node, Error> {
    base.open(path, Follow::Yes, WRITE, 0)
}

fn base(root: &Node) -> Node {
    create(root, "w/canary").unwrap();
    root.create_directory("w/base", 0).unwrap();
    root.open("w/base", Follow::No, Open::default(), 0).unwrap()
}

/// Refused with the guard, done without it.
fn holds<T>(guard: Guard, refusal: Error, mut attack: impl FnMut() -> Result<T, Error>) -> T {
    assert_eq!(attack().err(), Some(refusal), "with {guard:?}");
    switch_off(guard, attack).unwrap_or_else(|error| panic!("without {guard:?}: {error}"))
}

#[test]
fn a01_without_the_guard_dot_dot_leads_out() {
    let (_filesystem, root) = fixture();
    let base = base(&root);
    let canary = holds(Guard::EscapeAbove, Error::NotPermitted, || {
        base.metadata_of("../canary", Follow::Yes)
    });
    assert_eq!(Ok(canary), root.metadata_of("w/canary", Follow::No));
}

#[test]
fn a01_without_the_guard_an_absolute_path_leads_out() {
    let (_filesystem, root) = fixture();
    let base = base(&root);
    holds(Guard::AbsolutePath, Error::NotPermitted, || {
        base.metadata_of("/w/canary", Follow::Yes)
    });
}

#[test]
fn a02_without_the_guard_an_absolute_link_leads_out() {
    let (_filesystem, root) = fixture();
    let base = base(&root);
    base.symlink("/w/canary", "l", 0).unwrap();
    holds(Guard::AbsoluteLink, Error::NotPermitted, || {
        base.metadata_of("l", Follow::Yes)
    });
}

#[test]
fn a08_without_the_guard_a_read_only_mount_is_written() {
    let (_filesystem, root) = fixture();
    holds(Guard::ReadOnlyMount, Error::ReadOnly, || {
        root.create_directory("ro/d", 0)
    });
    let file = switch_off(Guard::ReadOnlyMount, || create(&root, "ro/f").unwrap());
    let written = holds(Guard::ReadOnlyMount, Error::ReadOnly, || {
        file.write_at(0, b"x", 0)
    });
    assert_eq!(written, 1);
    holds(Guard::ReadOnlyMount, Error::ReadOnly, || {
        file.set_size(0, 0)
    });
    holds(Guard::ReadOnlyMount, Error::ReadOnly, || {
        root.unlink("ro/f", 0)
    });
}

#[test]
fn a09_without_the_guard_a_mount_point_is_removed() {
    let (_filesystem, root) = fixture();
    holds(Guard::MountPoint, Error::Busy, || {
        root.remove_directory("w/inner", 0)
    });
    assert_eq!(
        root.metadata_of("w/inner", Follow::No).err(),
        Some(Error::NoEntry)
    );
}

#[test]
fn a09_without_the_guard_a_file_moves_to_another_mount() {
    let (_filesystem, root) = fixture();
    create(&root, "w/f").unwrap();
    holds(Guard::CrossMount, Error::CrossDevice, || {
        root.link("w/f", Follow::No, &root, "m/f", 0)
    });
    holds(Guard::CrossMount, Error::CrossDevice, || {
        root.rename("w/f", &root, "m/g", 0)
    });
}

#[test]
fn a13_without_the_guard_a_name_has_a_nul() {
    let (_filesystem, root) = fixture();
    holds(Guard::NulInName, Error::Invalid, || {
        create(&root, "w/f\0.txt")
    });
}

#[test]
fn a13_without_the_guard_a_secret_that_nobody_may_read_is_read() {
    let (_filesystem, root) = fixture();
    let read = Open {
        read: true,
        ..Open::default()
    };
    let file = holds(Guard::ReadBit, Error::Access, || {
        root.open("cfg/key", Follow::Yes, read, 0)
    });
    let mut buffer = [0; 6];
    holds(Guard::ReadBit, Error::Access, || {
        file.read_at(0, &mut buffer)
    });
    assert_eq!(&buffer, b"secret");
}

#[test]
fn a14_without_the_guard_a_name_is_too_long() {
    let (_filesystem, root) = fixture();
    let path = format!("w/{}", "n".repeat(2_000));
    holds(Guard::NameLength, Error::NameTooLong, || {
        create(&root, &path)
    });
}

#[test]
fn a14_without_the_guard_directories_nest_without_end() {
    let (_filesystem, root) = fixture();
    let mut at = root.open("w", Follow::No, Open::default(), 0).unwrap();
    for _ in 1..MAX_DEPTH {
        at.create_directory("d", 0).unwrap();
        at = at.open("d", Follow::No, Open::default(), 0).unwrap();
    }
    holds(Guard::Depth, Error::NameTooLong, || {
        at.create_directory("d", 0)
    });
}

#[test]
fn a15_without_the_guard_a_chain_of_links_has_no_end() {
    let (_filesystem, root) = fixture();
    create(&root, "w/l0").unwrap();
    for hop in 1..60 {
        root.symlink(&format!("l{}", hop - 1), &format!("w/l{hop}"), 0)
            .unwrap();
    }
    holds(Guard::SymlinkCap, Error::Loop, || {
        root.metadata_of("w/l59", Follow::Yes)
    });
}

#[test]
fn b06_without_the_guard_a_directory_is_lost_below_itself() {
    let (filesystem, root) = fixture();
    root.create_directory("w/d", 0).unwrap();
    holds(Guard::RenameBelowItself, Error::Invalid, || {
        root.rename("w/d", &root, "w/d/e", 0)
    });
    assert_eq!(
        root.metadata_of("w/d", Follow::No).err(),
        Some(Error::NoEntry)
    );
    drop((filesystem, root));
}

#[test]
fn b01_without_the_guard_a_file_looks_like_a_terabyte() {
    let (_filesystem, root) = fixture();
    let file = create(&root, "w/f").unwrap();
    holds(Guard::FileSizeCap, Error::FileTooLarge, || {
        file.set_size(1 << 40, 0)
    });
    assert_eq!(file.metadata().size, 1 << 40);
}

#[test]
fn b01_without_the_guard_bytes_have_no_bound() {
    let (filesystem, root) = fixture();
    let file = create(&root, "w/f").unwrap();
    assert!(file.write_at(0, &vec![1; 100_000], 0).unwrap() < 100_000);
    holds(Guard::ByteQuota, Error::NoSpace, || create(&root, "w/g"));
    assert!(filesystem.usage().bytes > 100_000);
    assert!(!filesystem.faults().is_empty());
}

#[test]
fn b01_without_the_guard_a_mounts_limit_is_none() {
    let (_filesystem, root) = fixture();
    let file = create(&root, "m/f").unwrap();
    assert!(file.write_at(0, &[1; 2_000], 0).unwrap() < 2_000);
    holds(Guard::MountQuota, Error::Quota, || create(&root, "m/g"));
}

#[test]
fn b02_without_the_guard_inodes_have_no_bound() {
    let mounts = [mount("/", Access::ReadWrite, None)];
    let budget = Budget {
        bytes: 1 << 20,
        inodes: 1,
    };
    let filesystem = Filesystem::new(budget, &mounts, 0).unwrap();
    let root = filesystem.root();
    create(&root, "f").unwrap();
    holds(Guard::InodeQuota, Error::NoSpace, || create(&root, "g"));
    assert_eq!(filesystem.usage().inodes, 2);
}

#[test]
fn b02_without_the_guard_an_unlinked_file_is_free_while_it_is_open() {
    let held = || {
        let (filesystem, root) = fixture();
        let before = filesystem.usage();
        let file = create(&root, "w/f").unwrap();
        file.write_at(0, &vec![1; 50_000], 0).unwrap();
        root.unlink("w/f", 0).unwrap();
        let after = filesystem.usage();
        assert_eq!(file.metadata().size, 50_000);
        (after.bytes - before.bytes, after.inodes - before.inodes)
    };
    assert_eq!(held().1, 1);
    assert!(held().0 > 50_000);
    assert_eq!(switch_off(Guard::UnlinkedCounts, held), (0, 0));
}

#[test]
fn b03_without_the_guard_listing_is_not_counted() {
    let (filesystem, root) = fixture();
    for number in 0..100 {
        create(&root, &format!("w/{number}")).unwrap();
    }
    let list = || {
        filesystem.take_work();
        let mut count = |_: agentvm_vfs::Entry<'_>| std::ops::ControlFlow::Continue(());
        let work = root.open("w", Follow::No, Open::default(), 0).unwrap();
        work.read_dir(0, &mut count).unwrap();
        filesystem.take_work()
    };
    assert!(list() >= 100);
    assert_eq!(switch_off(Guard::WorkCount, list), 0);
}

#[test]
fn b10_without_the_guard_a_file_has_any_number_of_names() {
    let mounts = [mount("/", Access::ReadWrite, None)];
    let budget = Budget {
        bytes: 64 << 20,
        inodes: 10,
    };
    let root = Filesystem::new(budget, &mounts, 0).unwrap().root();
    create(&root, "f").unwrap();
    for number in 1..MAX_LINKS {
        root.link("f", Follow::No, &root, &number.to_string(), 0)
            .unwrap();
    }
    holds(Guard::LinkCap, Error::TooManyLinks, || {
        root.link("f", Follow::No, &root, "more", 0)
    });
}

#[test]
fn b10_without_the_guard_targets_of_links_hold_any_amount() {
    let (filesystem, root) = fixture();
    let target = "x".repeat(1 << 20);
    let before = filesystem.usage().bytes;
    holds(Guard::TargetCounts, Error::NameTooLong, || {
        root.symlink(&target, "w/l", 0)
    });
    assert_eq!(
        root.read_link_of("w/l").map(|target| target.len()),
        Ok(1 << 20)
    );
    let counted = filesystem.usage().bytes - before;
    assert!(counted < 1_000, "{counted}");
}

#[test]
fn b09_without_the_guard_files_grow_while_the_host_is_short_of_memory() {
    let (filesystem, root) = fixture();
    let file = create(&root, "w/f").unwrap();
    filesystem.set_growth(Growth::Refused);
    holds(Guard::HostGrowth, Error::NoSpace, || {
        file.write_at(0, &[1; 5_000], 0)
    });
    assert_eq!(file.metadata().size, 5_000);
}
