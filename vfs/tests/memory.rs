//! What files cost, measured by the memory that the system gives this process.
//!
//! Alone in its process, so that nothing else takes memory meanwhile.
#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unsafe_code, reason = "the allocator is asked through its C function")]

use agentvm_vfs::{Access, Budget, Filesystem, Follow, Mount, Open, Source};

const WRITE: Open = Open {
    create: true,
    exclusive: false,
    directory: false,
    truncate: false,
    write: true,
    read: true,
};

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * u64::try_from(rustix::param::page_size()).unwrap()
}

/// Has the allocator give back what is free, as a cell does after a run.
fn trim() {
    unsafe extern "C" {
        fn malloc_trim(pad: usize) -> i32;
    }
    // SAFETY: it takes no pointer, and may be called from any thread at any time.
    unsafe { malloc_trim(0) };
}

fn filesystem() -> Filesystem {
    let mount = Mount {
        path: "/".to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    };
    let budget = Budget {
        bytes: 1 << 30,
        inodes: 1_000_000,
    };
    Filesystem::new(budget, &[mount], 0).unwrap()
}

/// A filesystem with so many files of one size, and the memory that each took.
fn files(count: u64, content: &[u8]) -> (Filesystem, u64) {
    let before = resident();
    let filesystem = filesystem();
    let root = filesystem.root();
    for number in 0..count {
        let name = format!("file-{number:08}");
        let file = root.open(&name, Follow::No, WRITE, 0).unwrap();
        assert_eq!(file.write_at(0, content, 0), Ok(content.len()));
    }
    drop(root);
    let taken = resident().saturating_sub(before);
    (filesystem, taken / count)
}

#[test]
fn an_empty_file_and_a_small_one_cost_little_and_all_is_given_back() {
    let before = resident();
    let (many, empty) = files(100_000, b"");
    let charged = many.usage().bytes / 100_000;
    println!("an empty file takes {empty} bytes, and is charged {charged}");
    assert!((64..256).contains(&empty), "{empty} bytes");
    assert!(charged >= empty, "charged {charged}, takes {empty}");

    let (some, small) = files(50_000, &[1; 1_024]);
    let charged = some.usage().bytes / 50_000;
    println!("a file of 1 KiB takes {small} bytes, and is charged {charged}");
    assert!((1_024..1_536).contains(&small), "{small} bytes");
    assert!(charged >= small, "charged {charged}, takes {small}");

    let (one, large) = files(1, &vec![1; 64 << 20]);
    println!("a file of 64 MiB takes {large} bytes");
    assert!((64 << 20..66 << 20).contains(&large), "{large} bytes");

    // Names alone, which cost most for what they are charged where they just don't fit in place.
    let before_names = resident();
    let names = filesystem();
    let root = names.root();
    root.open("f", Follow::No, WRITE, 0).unwrap();
    for number in 0..60_000 {
        let name = format!("{number:0>23}");
        root.link("f", Follow::No, &root, &name, 0).unwrap();
    }
    let (taken, charged) = (resident() - before_names, names.usage().bytes);
    println!("60,000 names take {taken} bytes, and are charged {charged}");
    assert!(taken < charged * 3 / 2, "charged {charged}, take {taken}");
    drop((root, names));

    drop((many, some, one));
    trim();
    let left = resident().saturating_sub(before);
    println!("{left} bytes are left when all are dropped");
    assert!(left < 4 << 20, "{left} bytes are left");
}
