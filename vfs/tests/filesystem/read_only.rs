//! What is read-only can't be changed by any call, along any way.

use agentvm_vfs::{Access, Error, Filesystem, Follow, Mount, Node, Open, SetTime};

use crate::seen::{READ, config, empty, mounted, names, snapshot};

fn fixture() -> Filesystem {
    let read_only = |path: &str| Mount {
        access: Access::ReadOnly,
        ..empty(path)
    };
    mounted(&[
        empty("/w"),
        read_only("/ro"),
        empty("/ro/rw"),
        // Files of a ConfigMap can't be written, whatever is asked.
        Mount {
            access: Access::ReadWrite,
            ..config("/w/cfg", &[("key", "value"), ("dir/key", "value")])
        },
        read_only("/w/deep/ro"),
    ])
}

/// All calls that would change something, by their names.
fn changes(base: &Node, above: &str) -> Vec<(String, Result<(), Error>)> {
    let path = |name: &str| format!("{above}{name}");
    let mut results = Vec::new();
    let mut add = |call: &str, result: Result<(), Error>| results.push((call.to_owned(), result));
    let set = |change: &dyn Fn(&mut Open)| {
        let mut how = Open::default();
        change(&mut how);
        how
    };
    let new = path("new");
    add("mkdir", base.create_directory(&new, 9));
    add("symlink", base.symlink("t", &new, 9));
    add(
        "create",
        base.open(&new, Follow::Yes, set(&|how| how.create = true), 9)
            .map(drop),
    );
    add(
        "create exclusively",
        base.open(
            &new,
            Follow::Yes,
            set(&|how| (how.create, how.exclusive) = (true, true)),
            9,
        )
        .map(drop),
    );
    add(
        "times of the directory",
        base.set_times_of(&path("."), Follow::Yes, SetTime::Now, SetTime::Now, 9),
    );
    add(
        "rename a new one in",
        base.rename(&path("gone"), base, &new, 9),
    );
    results
}

#[test]
fn a08_every_change_of_a_read_only_directory_is_refused() {
    let filesystem = fixture();
    let root = filesystem.root();
    let before = (snapshot(&root), filesystem.usage().bytes);
    for directory in ["ro", "w/cfg", "w/cfg/..data", "w/cfg/dir", "w/deep/ro", "."] {
        let opened = root
            .open(directory, Follow::Yes, Open::default(), 0)
            .unwrap();
        let old = opened.metadata();
        let by_path = format!("{directory}/");
        let by_open_directory = changes(&opened, "");
        for (call, result) in changes(&root, &by_path)
            .into_iter()
            .chain(by_open_directory)
        {
            assert_eq!(result, Err(Error::ReadOnly), "{call} in {directory}");
        }
        let times = opened.set_times(SetTime::At(7), SetTime::At(7), 9);
        assert_eq!(times, Err(Error::ReadOnly), "{directory}");
        for result in [
            opened.set_size(0, 9),
            opened.allocate(0, 1, 9),
            opened.write_at(0, b"x", 9).map(drop),
            opened.append(b"x", 9).map(drop),
        ] {
            assert_eq!(result, Err(Error::ReadOnly), "{directory}");
        }
        assert_eq!(opened.metadata(), old);
    }
    assert_eq!((snapshot(&root), filesystem.usage().bytes), before);
}

#[test]
fn a08_every_change_of_a_read_only_file_is_refused() {
    let filesystem = fixture();
    let root = filesystem.root();
    let before = snapshot(&root);
    for path in ["w/cfg/key", "w/cfg/dir/key", "w/cfg/..data/key"] {
        let old = root.metadata_of(path, Follow::Yes).unwrap();
        for change in [
            |how: &mut Open| how.write = true,
            |how: &mut Open| how.truncate = true,
            |how: &mut Open| (how.create, how.truncate) = (true, true),
            |how: &mut Open| (how.create, how.write) = (true, true),
        ] {
            let mut how = Open::default();
            change(&mut how);
            let opened = root.open(path, Follow::Yes, how, 9).err();
            assert_eq!(opened, Some(Error::ReadOnly), "{path} {how:?}");
        }
        let file = root.open(path, Follow::Yes, READ, 9).unwrap();
        for result in [
            file.set_size(0, 9),
            file.set_size(100, 9),
            file.allocate(0, 100, 9),
            file.write_at(0, b"x", 9).map(drop),
            file.write_at(0, b"", 9).map(drop),
            file.append(b"x", 9).map(drop),
            file.set_times(SetTime::Now, SetTime::Now, 9),
            root.set_times_of(path, Follow::Yes, SetTime::Now, SetTime::Now, 9),
            root.set_times_of(path, Follow::No, SetTime::Now, SetTime::Now, 9),
        ] {
            assert_eq!(result, Err(Error::ReadOnly), "{path}");
        }
        assert_eq!(root.metadata_of(path, Follow::Yes), Ok(old));
    }
    for path in ["w/cfg/key", "w/cfg/..data", "w/cfg/..data/key"] {
        assert_eq!(root.unlink(path, 9), Err(Error::ReadOnly));
        let beside = path.replace("key", "new").replace("..data", "..new");
        let beside = if path == "w/cfg/..data/key" {
            "w/cfg/..data/new"
        } else {
            &beside
        };
        assert_eq!(root.rename(path, &root, beside, 9), Err(Error::ReadOnly));
        assert_eq!(
            root.link(path, Follow::No, &root, "w/cfg/new", 9),
            Err(Error::ReadOnly)
        );
    }
    assert_eq!(
        root.remove_directory("w/cfg/..data/dir", 9),
        Err(Error::ReadOnly)
    );
    assert_eq!(snapshot(&root), before);
}

#[test]
fn a_writable_mount_below_a_read_only_one_is_writable() {
    let filesystem = fixture();
    let root = filesystem.root();
    root.create_directory("ro/rw/new", 1).unwrap();
    assert_eq!(root.create_directory("ro/new", 1), Err(Error::ReadOnly));
    assert_eq!(
        names(&root.open("ro", Follow::No, READ, 0).unwrap()),
        [".", "..", "rw"]
    );
    root.create_directory("w/deep/new", 1).unwrap();
}

#[test]
fn reading_a_file_whose_mode_forbids_it_is_refused_by_open_and_by_read() {
    let mut mount = config("/cfg", &[("key", "secret")]);
    if let agentvm_vfs::Source::Files(files) = &mut mount.source {
        files.get_mut("key").unwrap().mode = 0o044;
    }
    let filesystem = mounted(&[mount]);
    let root = filesystem.root();
    assert_eq!(
        root.open("cfg/key", Follow::Yes, READ, 0).err(),
        Some(Error::Access)
    );
    let unread = root
        .open("cfg/key", Follow::Yes, Open::default(), 0)
        .unwrap();
    let mut buffer = [0; 6];
    assert_eq!(unread.read_at(0, &mut buffer), Err(Error::Access));
    assert_eq!(buffer, [0; 6]);
    assert_eq!(unread.metadata().size, 6);
}
