//! The shortest way through everything that a guest does.

use std::collections::BTreeMap;

use agentvm_vfs::{Access, Budget, Error, File, Filesystem, Follow, Kind, Mount, Open, Source};

use crate::seen::{WRITE, names};

fn filesystem() -> Filesystem {
    let files = [("app.conf", "a=1"), ("tls/key.pem", "secret")].map(|(path, data)| {
        let data = data.as_bytes().into();
        (path.to_owned(), File { data, mode: 0o644 })
    });
    let mounts = [
        Mount {
            path: "/work".to_owned(),
            access: Access::ReadWrite,
            source: Source::Empty { max_bytes: None },
        },
        Mount {
            path: "/etc/config".to_owned(),
            access: Access::ReadOnly,
            source: Source::Files(BTreeMap::from(files)),
        },
    ];
    let budget = Budget {
        bytes: 1 << 20,
        inodes: 100,
    };
    Filesystem::new(budget, &mounts, 1).unwrap()
}

#[test]
fn a_file_is_made_written_read_renamed_and_removed() {
    let filesystem = filesystem();
    let root = filesystem.root();
    assert_eq!(names(&root), [".", "..", "etc", "work"]);
    root.create_directory("work/d", 2).unwrap();
    let file = root.open("work/d/f", Follow::Yes, WRITE, 3).unwrap();
    assert_eq!(file.write_at(0, b"hello", 4), Ok(5));
    assert_eq!(file.append(b" world", 5), Ok((6, 11)));
    let mut buffer = [0; 20];
    assert_eq!(file.read_at(6, &mut buffer), Ok(5));
    assert_eq!(&buffer[..5], b"world");
    root.rename("work/d/f", &root, "work/g", 6).unwrap();
    assert_eq!(root.metadata_of("work/g", Follow::Yes).unwrap().size, 11);
    let before = filesystem.usage().inodes;
    root.unlink("work/g", 7).unwrap();
    root.remove_directory("work/d", 8).unwrap();
    assert_eq!(filesystem.usage().inodes, before - 1);
    drop(file);
    assert_eq!(filesystem.usage().inodes, before - 2);
    assert_eq!(filesystem.faults(), Vec::<String>::new());
    assert!(filesystem.take_work() > 0);
}

#[test]
fn files_of_a_configmap_are_read_through_their_links() {
    let filesystem = filesystem();
    let root = filesystem.root();
    let config = root
        .open("etc/config", Follow::Yes, Open::default(), 1)
        .unwrap();
    assert_eq!(
        names(&config),
        [".", "..", "..1", "..data", "app.conf", "tls"]
    );
    let read = Open {
        read: true,
        ..Open::default()
    };
    let key = config.open("tls/key.pem", Follow::Yes, read, 1).unwrap();
    let mut buffer = [0; 20];
    assert_eq!(key.read_at(0, &mut buffer), Ok(6));
    assert_eq!(key.kind(), Kind::File);
    let files = BTreeMap::from([(
        "app.conf".to_owned(),
        File {
            data: b"a=2".as_slice().into(),
            mode: 0o644,
        },
    )]);
    filesystem.swap("/etc/config", &files, 9).unwrap();
    assert_eq!(names(&config), [".", "..", "..2", "..data", "app.conf"]);
    assert_eq!(key.read_at(0, &mut buffer), Ok(6));
    assert_eq!(
        root.open("etc/config/app.conf", Follow::Yes, WRITE, 1)
            .err(),
        Some(Error::ReadOnly)
    );
    assert_eq!(filesystem.faults(), Vec::<String>::new());
}
