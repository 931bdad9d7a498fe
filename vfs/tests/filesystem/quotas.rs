//! What is held is counted, and never more than is allowed.

use agentvm_vfs::{
    Access, Budget, Error, Filesystem, Follow, Growth, MAX_LINKS, MAX_PATH_BYTES, Mount, Node,
    Open, Source,
};

use crate::seen::{READ, WRITE, snapshot, write};

/// What an inode and a name cost.
const INODE: u64 = 128;
const NAME: u64 = 48;
const KIB: u64 = 1_024;
const BLOCK: u64 = 64 * KIB;

/// `/w` with nothing but the budget, and `/m` with a limit of its own.
fn fixture(bytes: u64, inodes: u64, max_bytes: u64) -> (Filesystem, Node, Node) {
    let mount = |path: &str, max_bytes| Mount {
        path: path.to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes },
    };
    let mounts = [mount("/w", None), mount("/m", Some(max_bytes))];
    let filesystem = Filesystem::new(Budget { bytes, inodes }, &mounts, 0).unwrap();
    let open = |path| filesystem.root().open(path, Follow::No, READ, 0).unwrap();
    let (work, limited) = (open("w"), open("m"));
    (filesystem, work, limited)
}

fn create(base: &Node, name: &str) -> Result<Node, Error> {
    base.open(name, Follow::No, WRITE, 0)
}

fn sound(filesystem: &Filesystem) {
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}

#[test]
fn everything_that_is_held_has_its_price() {
    let (filesystem, work, _) = fixture(1 << 20, 100, 1 << 20);
    let price = |what: &dyn Fn()| {
        let before = filesystem.usage().bytes;
        what();
        filesystem.usage().bytes - before
    };
    assert_eq!(price(&|| drop(create(&work, "file"))), INODE + NAME + 4);
    assert_eq!(
        price(&|| work.create_directory("directory", 0).unwrap()),
        INODE + NAME + 9
    );
    assert_eq!(
        price(&|| work.symlink("target", "l", 0).unwrap()),
        INODE + NAME + 1 + 6
    );
    assert_eq!(
        price(&|| work.link("file", Follow::No, &work, "other", 0).unwrap()),
        NAME + 5
    );
    assert_eq!(
        price(&|| work.rename("file", &work, "filename", 0).unwrap()),
        4
    );
    let file = work.open("filename", Follow::No, WRITE, 0).unwrap();
    assert_eq!(
        price(&|| assert_eq!(file.write_at(0, &[1; 1_024], 0), Ok(1_024))),
        KIB
    );
    assert_eq!(
        price(&|| assert_eq!(file.write_at(100, &[2; 100], 0), Ok(100))),
        0
    );
    assert_eq!(price(&|| file.set_size(1 << 20, 0).unwrap()), 0);
    assert_eq!(
        price(&|| assert_eq!(file.write_at(10 * BLOCK, &[1; 10], 0), Ok(10))),
        64 + 64
    );
    let before = filesystem.usage().bytes;
    file.set_size(0, 0).unwrap();
    assert_eq!(before - filesystem.usage().bytes, KIB + 128);
    // Cut at the end of a block, the next one leaves nothing behind.
    assert_eq!(
        price(&|| assert_eq!(file.write_at(0, &vec![1; 65_600], 0), Ok(65_600))),
        BLOCK + 128
    );
    let before = filesystem.usage().bytes;
    file.set_size(BLOCK, 0).unwrap();
    assert_eq!(before - filesystem.usage().bytes, 128);
    sound(&filesystem);
}

#[test]
fn b01_a_sparse_file_is_bounded_by_what_the_volume_could_hold() {
    let (filesystem, work, limited) = fixture(8 << 20, 100, 1 << 20);
    for (base, most) in [(&work, 8 << 20), (&limited, 1 << 20)] {
        let file = create(base, "f").unwrap();
        assert_eq!(file.set_size(1 << 40, 0), Err(Error::FileTooLarge));
        assert_eq!(file.set_size(most + 1, 0), Err(Error::FileTooLarge));
        assert_eq!(file.write_at(most, b"x", 0), Err(Error::FileTooLarge));
        assert_eq!(file.write_at(u64::MAX, b"x", 0), Err(Error::FileTooLarge));
        assert_eq!(file.allocate(0, most + 1, 0), Err(Error::FileTooLarge));
        assert_eq!(
            file.allocate(u64::MAX, u64::MAX, 0),
            Err(Error::FileTooLarge)
        );
        assert_eq!(file.metadata().size, 0);
        file.set_size(most, 0).unwrap();
        let before = filesystem.usage().bytes;
        let mut holes = [1; 64];
        assert_eq!(file.read_at(most - 32, &mut holes), Ok(32));
        assert_eq!(holes[..32], [0; 32]);
        assert_eq!(filesystem.usage().bytes, before);
        assert_eq!(file.append(b"x", 0), Err(Error::FileTooLarge));
        // One byte in every hole until there is no room.
        let mut at = most;
        while at >= BLOCK {
            at -= BLOCK;
            assert_eq!(file.write_at(at, b"x", 0), Ok(1));
        }
        assert!(filesystem.usage().bytes <= 8 << 20);
        sound(&filesystem);
    }
}

#[test]
fn b01_holes_that_are_filled_are_paid_for_and_refused_at_the_limit() {
    let (filesystem, work, _) = fixture(300_000, 100, 1 << 20);
    let file = create(&work, "f").unwrap();
    file.set_size(300_000, 0).unwrap();
    let mut written = 0;
    let refused = loop {
        match file.write_at(written, &[7; 10_000], 0) {
            Ok(bytes) => written += u64::try_from(bytes).unwrap(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::NoSpace));
    // All but what inode, name and places in the map take.
    assert!((298_000..300_000).contains(&written), "{written}");
    assert!((299_900..=300_000).contains(&filesystem.usage().bytes));
    sound(&filesystem);
    // Deleting works at the limit, and gives all of it back.
    work.unlink("f", 0).unwrap();
    drop(file);
    assert_eq!(filesystem.usage().bytes, 0);
    assert_eq!(filesystem.usage().refused_by_quota, 1);
}

#[test]
fn a_write_that_fits_in_part_writes_that_part() {
    let (filesystem, work, limited) = fixture(1 << 20, 100, 10_000);
    let file = create(&limited, "f").unwrap();
    let room = 10_000 - INODE - NAME - 1;
    assert_eq!(
        file.write_at(0, &vec![1; 20_000], 0),
        Ok(usize::try_from(room).unwrap())
    );
    assert_eq!(file.append(b"x", 0), Err(Error::Quota));
    assert_eq!(file.write_at(5, b"over", 0), Ok(4));
    assert_eq!(limited.symlink("t", "l", 0), Err(Error::Quota));
    assert_eq!(limited.create_directory("d", 0), Err(Error::Quota));
    assert_eq!(
        limited.link("f", Follow::No, &limited, "g", 0),
        Err(Error::Quota)
    );
    assert_eq!(
        limited.rename("f", &limited, "longer", 0),
        Err(Error::Quota)
    );
    assert_eq!(filesystem.usage().bytes, 10_000);
    // The mount's limit is not the VM's.
    write(&work, "f", "x");
    limited.rename("f", &limited, "g", 0).unwrap();
    limited.unlink("g", 0).unwrap();
    assert_eq!(limited.create_directory("d", 0), Err(Error::Quota));
    drop(file);
    limited.create_directory("d", 0).unwrap();
    sound(&filesystem);
}

#[test]
fn b02_inodes_of_every_kind_are_bounded() {
    let (filesystem, work, limited) = fixture(1 << 20, 30, 1 << 20);
    let mut made = 0;
    let refused = (0..).find_map(|number| {
        let name = number.to_string();
        let base = if number % 2 == 0 { &work } else { &limited };
        let result = match number % 3 {
            0 => base.create_directory(&name, 0),
            1 => base.symlink("t", &name, 0),
            _ => create(base, &name).map(drop),
        };
        made += u64::from(result.is_ok());
        result.err()
    });
    assert_eq!((refused, made), (Some(Error::NoSpace), 30));
    assert_eq!(filesystem.usage().inodes, 30);
    // Another name of a file takes none.
    work.link("2", Follow::No, &work, "again", 0).unwrap();
    work.remove_directory("0", 0).unwrap();
    work.create_directory("0", 0).unwrap();
    assert_eq!(create(&work, "x").err(), Some(Error::NoSpace));
    sound(&filesystem);
}

#[test]
fn b02_an_unlinked_file_counts_until_it_is_closed() {
    let (filesystem, work, _) = fixture(1 << 20, 3, 1 << 20);
    let mut open = Vec::new();
    for _ in 0..3 {
        let file = create(&work, "f").unwrap();
        assert_eq!(file.write_at(0, &[1; 10_000], 0), Ok(10_000));
        work.unlink("f", 0).unwrap();
        open.push(file);
    }
    assert_eq!(create(&work, "f").err(), Some(Error::NoSpace));
    assert_eq!(filesystem.usage().inodes, 3);
    assert!(filesystem.usage().bytes >= 30_000);
    let again = open[0].clone();
    open.remove(0);
    assert_eq!(create(&work, "f").err(), Some(Error::NoSpace));
    // It still grows, and pays.
    assert_eq!(again.append(&[1; 10_000], 0), Ok((10_000, 20_000)));
    assert!(filesystem.usage().bytes >= 40_000);
    drop(again);
    assert!(create(&work, "f").is_ok());
    drop(open);
    assert_eq!(filesystem.usage().inodes, 1);
    sound(&filesystem);
}

#[test]
fn b05_appends_from_many_threads_never_exceed_the_quota() {
    let (filesystem, work, _) = fixture(4 << 20, 100, 1 << 20);
    let file = create(&work, "log").unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let file = file.clone();
            scope.spawn(move || {
                let bytes = [number; 512];
                while let Ok((written, end)) = file.append(&bytes, 0) {
                    assert!(end >= u64::try_from(written).unwrap());
                }
            });
        }
    });
    let usage = filesystem.usage();
    assert!(usage.bytes <= 4 << 20 && usage.peak_bytes <= 4 << 20);
    // No byte was lost: each piece is whole, but for the last.
    let size = usize::try_from(file.metadata().size).unwrap();
    let mut content = vec![0; size];
    assert_eq!(file.read_at(0, &mut content), Ok(size));
    let (whole, _) = content.as_chunks::<512>();
    assert!(
        whole
            .iter()
            .all(|piece| piece.iter().all(|byte| *byte == piece[0]))
    );
    assert!(size > 4_100_000, "{size}");
    sound(&filesystem);
}

#[test]
fn b08_a_range_is_allocated_whole_or_not_at_all() {
    let (filesystem, work, _) = fixture(1 << 20, 100, 1 << 20);
    let file = create(&work, "f").unwrap();
    assert_eq!(file.write_at(3 * BLOCK + 5, b"middle", 0), Ok(6));
    let before = (filesystem.usage().bytes, file.metadata());
    assert_eq!(file.allocate(0, 1 << 20, 9), Err(Error::NoSpace));
    assert_eq!(file.allocate(0, 0, 9), Err(Error::Invalid));
    assert_eq!((filesystem.usage().bytes, file.metadata()), before);
    file.allocate(100, 10 * BLOCK, 9).unwrap();
    assert_eq!(file.metadata().size, 10 * BLOCK + 100);
    let paid = filesystem.usage().bytes;
    assert!(paid > 10 * BLOCK);
    // What is paid for is there to be written when nothing else is.
    filesystem.set_growth(Growth::Refused);
    assert_eq!(file.write_at(0, &vec![1; 650_000], 9), Ok(650_000));
    assert_eq!(filesystem.usage().bytes, paid);
    let mut content = [0; 6];
    assert_eq!(file.read_at(10 * BLOCK, &mut content), Ok(6));
    sound(&filesystem);
}

#[test]
fn what_grows_is_refused_while_the_host_is_short_of_memory() {
    let (filesystem, work, _) = fixture(1 << 20, 100, 1 << 20);
    write(&work, "f", "hello");
    let file = work.open("f", Follow::No, WRITE, 0).unwrap();
    filesystem.set_growth(Growth::Refused);
    let before = filesystem.usage();
    assert_eq!(create(&work, "g").err(), Some(Error::NoSpace));
    assert_eq!(file.write_at(BLOCK, b"x", 0), Err(Error::NoSpace));
    assert_eq!(work.create_directory("d", 0), Err(Error::NoSpace));
    assert_eq!(file.write_at(0, b"HELLO", 0), Ok(5));
    assert_eq!(file.set_size(1, 0), Ok(()));
    work.rename("f", &work, "g", 0).unwrap();
    let usage = filesystem.usage();
    assert_eq!(usage.refused_by_host - before.refused_by_host, 3);
    assert_eq!(usage.refused_by_quota, before.refused_by_quota);
    filesystem.set_growth(Growth::Allowed);
    create(&work, "f").unwrap();
    work.unlink("g", 0).unwrap();
    sound(&filesystem);
}

#[test]
fn b10_hard_links_are_counted_and_bounded() {
    let (filesystem, work, _) = fixture(64 << 20, 10, 1 << 20);
    write(&work, "f", "x");
    for number in 1..MAX_LINKS {
        work.link("f", Follow::No, &work, &number.to_string(), 0)
            .unwrap();
    }
    assert_eq!(
        work.link("f", Follow::No, &work, "more", 0),
        Err(Error::TooManyLinks)
    );
    assert!(filesystem.usage().bytes > u64::from(MAX_LINKS) * NAME);
    assert_eq!(filesystem.usage().inodes, 1);
    assert_eq!(
        work.metadata_of("f", Follow::No).unwrap().links,
        u64::from(MAX_LINKS)
    );
    sound(&filesystem);
}

#[test]
fn b10_targets_of_links_are_counted_and_bounded() {
    let (filesystem, work, _) = fixture(100_000, 1_000, 1 << 20);
    assert_eq!(
        work.symlink(&"x".repeat(1 << 20), "l", 0),
        Err(Error::NameTooLong)
    );
    let target = "x".repeat(MAX_PATH_BYTES);
    let refused = (0..).find_map(|number| work.symlink(&target, &number.to_string(), 0).err());
    assert_eq!(refused, Some(Error::NoSpace));
    assert_eq!(filesystem.usage().inodes, 23);
    assert!(filesystem.usage().bytes <= 100_000);
    sound(&filesystem);
}

#[test]
fn b12_names_are_counted() {
    let (filesystem, work, _) = fixture(100_000, 1_000_000, 1 << 20);
    let refused = (0..).find_map(|number| create(&work, &format!("{number:0>250}")).err());
    assert_eq!(refused, Some(Error::NoSpace));
    assert_eq!(filesystem.usage().inodes, 100_000 / (INODE + NAME + 250));
    sound(&filesystem);
}

#[test]
fn b08_what_is_refused_for_lack_of_room_has_changed_nothing() {
    for room in 0..700 {
        let (filesystem, work, _) = fixture(1_100, 100, 1 << 20);
        write(&work, "f", "x");
        work.create_directory("d", 0).unwrap();
        let ballast = create(&work, "b").unwrap();
        let left = 1_100 - filesystem.usage().bytes;
        let ballast_bytes = usize::try_from(left.saturating_sub(room)).unwrap();
        let _ = ballast.write_at(0, &vec![1; ballast_bytes], 0);
        let before = (snapshot(&work), filesystem.usage().bytes, work.metadata());
        let calls: [&dyn Fn() -> Result<(), Error>; 6] = [
            &|| work.create_directory("new", 1),
            &|| work.symlink("target", "new", 1),
            &|| create(&work, "new").map(drop),
            &|| work.link("f", Follow::No, &work, "new", 1),
            &|| work.rename("f", &work, "longer-name", 1),
            &|| work.rename("d", &work, "longer-name", 1),
        ];
        for call in calls {
            match call() {
                Ok(()) => break,
                Err(error) => assert_eq!(error, Error::NoSpace),
            }
            assert_eq!(
                (snapshot(&work), filesystem.usage().bytes, work.metadata()),
                before
            );
        }
        sound(&filesystem);
    }
}

#[test]
fn calls_are_counted_by_how_they_end() {
    let (filesystem, work, _) = fixture(1_000, 100, 1 << 20);
    let before = filesystem.usage();
    write(&work, "f", "x");
    work.metadata_of("missing", Follow::No).unwrap_err();
    work.open("missing", Follow::No, Open::default(), 0)
        .unwrap_err();
    let file = work.open("f", Follow::No, WRITE, 0).unwrap();
    let written = file.write_at(0, &[1; 900], 0).unwrap();
    assert!(written < 900);
    file.append(b"x", 0).unwrap_err();
    let after = filesystem.usage();
    assert_eq!(after.operations - before.operations, 4);
    assert_eq!(after.errors - before.errors, 2);
    assert_eq!(after.refused_by_quota - before.refused_by_quota, 1);
    assert_eq!(after.peak_bytes, 1_000);
    drop(file);
    work.unlink("f", 0).unwrap();
    write(&work, "g", "x");
    let last = filesystem.usage();
    assert!(last.bytes < 500);
    assert_eq!(last.peak_bytes, 1_000);
}

#[test]
fn b02_what_is_freed_is_used_again() {
    let (filesystem, work, _) = fixture(1 << 20, 100, 1 << 20);
    let mut highest = 0;
    for _ in 0..10_000 {
        let file = create(&work, "f").unwrap();
        highest = highest.max(file.metadata().inode);
        work.unlink("f", 0).unwrap();
    }
    assert!(highest < 10, "{highest}");
    assert_eq!(filesystem.usage().bytes, 0);
}
