//! A host that has no memory left is an error that the guest sees, and nothing else.
//!
//! Alone in its process, whose address space it bounds.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use agentvm_vfs::{Access, Budget, Error, Filesystem, Follow, Mount, Open, Source};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How much more this process gets.
const MORE: u64 = 256 << 20;

const WRITE: Open = Open {
    create: true,
    exclusive: false,
    directory: false,
    truncate: false,
    write: true,
    read: true,
};

fn bound_address_space() {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let now = pages * u64::try_from(rustix::param::page_size()).unwrap();
    let bound = Rlimit {
        current: Some(now + MORE),
        maximum: getrlimit(Resource::As).maximum,
    };
    setrlimit(Resource::As, bound).unwrap();
}

#[test]
fn b09_a_host_without_memory_is_an_error_and_the_filesystem_stays_sound() {
    let mount = Mount {
        path: "/".to_owned(),
        access: Access::ReadWrite,
        source: Source::Empty { max_bytes: None },
    };
    let budget = Budget {
        bytes: 1 << 30,
        inodes: 100,
    };
    let filesystem = Filesystem::new(budget, &[mount], 0).unwrap();
    let root = filesystem.root();
    let piece = vec![7; 1 << 20];
    let small = root.open("small", Follow::No, WRITE, 0).unwrap();
    let file = root.open("large", Follow::No, WRITE, 0).unwrap();
    bound_address_space();

    let refused = loop {
        if let Err(error) = file.append(&piece, 0) {
            break error;
        }
    };
    assert_eq!(refused, Error::NoMemory);
    let (size, usage) = (file.metadata().size, filesystem.usage());
    // The allocator had some in reserve.
    assert!((MORE / 4..=2 * MORE).contains(&size), "{size}");
    assert_eq!((usage.refused_by_host, usage.refused_by_quota), (1, 0));
    assert_eq!(small.allocate(0, 2 * MORE, 0), Err(Error::NoMemory));
    assert_eq!(small.metadata().size, 0);
    assert_eq!(filesystem.usage().bytes, usage.bytes);
    assert_eq!(filesystem.faults(), Vec::<String>::new());

    // What is there can be read, overwritten and removed; then there is room again.
    assert_eq!(file.write_at(0, &piece, 0), Ok(piece.len()));
    let mut last = [0; 4];
    assert_eq!(file.read_at(size - 4, &mut last), Ok(4));
    assert_eq!(last, [7; 4]);
    root.unlink("large", 0).unwrap();
    drop(file);
    assert_eq!(small.append(&piece, 0), Ok((piece.len(), 1 << 20)));
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}
