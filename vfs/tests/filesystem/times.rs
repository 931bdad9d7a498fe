//! Times are what the caller says, and change with what they are of.

use agentvm_vfs::{Follow, Metadata, Node, SetTime};

use crate::seen::{WRITE, empty, mounted, write};

fn of(base: &Node, path: &str) -> (u64, u64, u64) {
    let Metadata {
        accessed,
        modified,
        changed,
        ..
    } = base.metadata_of(path, Follow::No).unwrap();
    (accessed, modified, changed)
}

#[test]
fn each_change_sets_the_times_that_it_changes() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    root.create_directory("d", 10).unwrap();
    assert_eq!(
        (of(&root, "d"), of(&root, ".")),
        ((10, 10, 10), (1, 10, 10))
    );
    let file = root.open("d/f", Follow::Yes, WRITE, 20).unwrap();
    assert_eq!(
        (of(&root, "d/f"), of(&root, "d")),
        ((20, 20, 20), (10, 20, 20))
    );
    file.append(b"x", 30).unwrap();
    assert_eq!(
        (of(&root, "d/f"), of(&root, "d")),
        ((20, 30, 30), (10, 20, 20))
    );
    root.link("d/f", Follow::No, &root, "g", 40).unwrap();
    assert_eq!(
        (of(&root, "g"), of(&root, ".")),
        ((20, 30, 40), (1, 40, 40))
    );
    root.rename("g", &root, "d/g", 50).unwrap();
    root.rename("d/f", &root, "h", 60).unwrap();
    assert_eq!(
        (of(&root, "h"), of(&root, "d"), of(&root, ".")),
        ((20, 30, 60), (10, 60, 60), (1, 60, 60))
    );
    root.unlink("h", 70).unwrap();
    assert_eq!((of(&root, "."), file.metadata().changed), ((1, 70, 70), 70));
    file.set_size(0, 80).unwrap();
    assert_eq!(file.metadata().modified, 80);
    file.allocate(0, 5, 90).unwrap();
    assert_eq!(file.metadata().modified, 90);
    // Nothing written, nothing changed.
    assert_eq!(file.write_at(0, b"", 95), Ok(0));
    assert_eq!(file.metadata().modified, 90);
    root.symlink("t", "l", 100).unwrap();
    assert_eq!(of(&root, "l"), (100, 100, 100));
}

#[test]
fn times_are_set_by_hand_to_anything() {
    let filesystem = mounted(&[empty("/")]);
    let root = filesystem.root();
    write(&root, "f", "x");
    root.symlink("f", "l", 0).unwrap();
    root.set_times_of("l", Follow::Yes, SetTime::At(u64::MAX), SetTime::Keep, 5)
        .unwrap();
    assert_eq!(of(&root, "f"), (u64::MAX, 0, 5));
    root.set_times_of("l", Follow::No, SetTime::Now, SetTime::At(0), u64::MAX)
        .unwrap();
    assert_eq!(of(&root, "l"), (u64::MAX, 0, u64::MAX));
    assert_eq!(of(&root, "f"), (u64::MAX, 0, 5));
    root.set_times(SetTime::At(3), SetTime::Now, 4).unwrap();
    assert_eq!(of(&root, "."), (3, 4, 4));
}
