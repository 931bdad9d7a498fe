//! What an archive may do in a mount, and what of it is refused.

use std::io::Cursor;

use agentvm_runtime::vfs::{Access, Budget, Error, Files, Mount, Source, Usage};

use super::*;
use crate::archive::Writer;
use crate::cell::archive::pack::{Pack, PackError};
use crate::guards::switch_off;

const NOW: Timestamp = 1_800_000_000_000_000_000;

fn item(path: &str, kind: Kind) -> Item {
    Item {
        path: path.to_owned(),
        kind,
        modified_unix_s: 1_700_000_000,
    }
}

fn file(path: &str, bytes: u64) -> Item {
    item(path, Kind::File { bytes })
}

fn link(path: &str, target: &str) -> Item {
    let target = target.to_owned();
    item(path, Kind::Symlink { target })
}

fn archive(items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for item in items {
        writer.add(item, &mut std::io::repeat(b'x')).unwrap();
    }
    writer.finish().unwrap()
}

fn mount(path: &str, source: Source) -> Mount {
    Mount {
        path: path.to_owned(),
        access: Access::ReadWrite,
        source,
    }
}

fn filesystem(bytes: u64, inodes: u64) -> Filesystem {
    let mounts = [
        mount(
            "/work",
            Source::Empty {
                max_bytes: Some(1 << 20),
            },
        ),
        mount("/work/config", Source::Files(Files::new())),
        mount("/other", Source::Empty { max_bytes: None }),
    ];
    Filesystem::new(Budget { bytes, inodes }, &mounts, NOW).unwrap()
}

fn roomy() -> Filesystem {
    filesystem(64 << 20, 1000)
}

fn put(files: &Filesystem, items: &[Item]) -> Result<(), UnpackError> {
    unpack(files, "/work", Cursor::new(archive(items)), NOW)
}

fn listed(files: &Filesystem, path: &str) -> Vec<String> {
    let packed = Pack::new(files.clone(), path, NOW)
        .write(Vec::new())
        .unwrap();
    let mut lines = Vec::new();
    read(&packed[..], |item, content| {
        let mut text = Vec::new();
        content.read_to_end(&mut text).unwrap();
        lines.push(match item.kind {
            Kind::Directory => format!("{}/", item.path),
            Kind::File { .. } => format!("{} {}", item.path, text.len()),
            Kind::Symlink { target } => format!("{} -> {target}", item.path),
            Kind::HardLink { to } => format!("{} == {to}", item.path),
        });
        Ok::<(), ReadError>(())
    })
    .unwrap();
    lines.sort();
    lines
}

#[test]
fn what_goes_in_comes_out() {
    let files = roomy();
    let to = "d/f".to_owned();
    let items = [
        item("d", Kind::Directory),
        file("d/f", 300_000),
        file("made/on/the/way", 0),
        link("l", "/etc/passwd"),
        item("h", Kind::HardLink { to }),
    ];
    put(&files, &items).unwrap();
    let mut all = listed(&files, "/work");
    assert!(
        all.contains(&"d/f == h".to_owned()) || all.contains(&"h == d/f".to_owned()),
        "{all:?}"
    );
    all.retain(|line| !line.contains("==") && !line.ends_with(" 300000"));
    assert_eq!(
        all,
        [
            "d/",
            "l -> /etc/passwd",
            "made/",
            "made/on/",
            "made/on/the/",
            "made/on/the/way 0"
        ]
    );
    assert_eq!(listed(&files, "/work/made/on"), ["the/", "the/way 0"]);
    assert_eq!(listed(&files, "/work/made/on/the/way"), ["way 0"]);
    let found = files.root().metadata_of("work/d/f", Follow::No).unwrap();
    assert_eq!(
        (found.modified, found.links),
        (1_700_000_000_000_000_000, 2)
    );
}

#[test]
fn a_mount_in_the_mount_is_neither_written_nor_read() {
    let files = roomy();
    let refused = put(&files, &[file("config/f", 1)]).unwrap_err();
    assert!(
        matches!(
            refused,
            UnpackError::Refused {
                error: Error::ReadOnly,
                ..
            }
        ),
        "{refused}"
    );
    put(&files, &[item("config", Kind::Directory), file("f", 1)]).unwrap();
    assert_eq!(listed(&files, "/work"), ["f 1"]);
}

#[test]
fn a06_nothing_is_unpacked_through_a_link() {
    for items in [
        [link("l", "/other"), file("l/f", 1)],
        [link("l", "../other"), item("l/d", Kind::Directory)],
        [
            link("l", "/other"),
            item(
                "h",
                Kind::HardLink {
                    to: "l/f".to_owned(),
                },
            ),
        ],
        [file("f", 1), file("f/g", 1)],
        [link("l", "d"), file("l/f", 1)],
    ] {
        let files = roomy();
        let refused = put(&files, &items).unwrap_err();
        assert!(
            matches!(refused, UnpackError::Through { .. }),
            "{items:?}: {refused}"
        );
        assert_eq!(listed(&files, "/other"), Vec::<String>::new());
    }
    let files = roomy();
    put(&files, &[link("l", "/other/f")]).unwrap();
    let replaced = put(&files, &[file("l", 1)]).unwrap_err();
    assert!(
        matches!(
            replaced,
            UnpackError::Refused {
                error: Error::Exists,
                ..
            }
        ),
        "{replaced}"
    );
}

#[test]
fn e08_a_bomb_of_names_or_bytes_ends_at_the_quota() {
    let count = |usage: Usage| (usage.bytes, usage.inodes);
    let names: Vec<Item> = (0..2000).map(|index| file(&index.to_string(), 0)).collect();
    for (files, items, says) in [
        (
            filesystem(64 << 20, 100),
            names.as_slice(),
            "spec.limits.inodes",
        ),
        (
            filesystem(128 << 10, 1000),
            &[file("f", 1 << 30)],
            "spec.limits.storage",
        ),
        (
            filesystem(64 << 20, 1000),
            &[file("f", 1 << 30)],
            "sizeLimit",
        ),
    ] {
        let archive = archive_of_claims(items);
        let refused = unpack(&files, "/work", archive, NOW)
            .unwrap_err()
            .to_string();
        assert!(refused.contains(says), "{refused}");
        let (bytes, inodes) = count(files.usage());
        assert!(bytes <= 64 << 20 && inodes <= 1000, "{bytes} {inodes}");
    }
}

/// An archive whose one large file is never in memory.
fn archive_of_claims(items: &[Item]) -> Box<dyn Read> {
    if let [
        Item {
            kind: Kind::File { bytes },
            ..
        },
    ] = items
    {
        let head = archive(&[]);
        let mut header = tar::Header::new_gnu();
        header.set_size(*bytes);
        header.set_path("f").unwrap();
        header.set_cksum();
        let header = Cursor::new(header.as_bytes().to_vec());
        return Box::new(
            header
                .chain(std::io::repeat(0).take(*bytes))
                .chain(Cursor::new(head)),
        );
    }
    Box::new(Cursor::new(archive(items)))
}

#[test]
fn a_sparse_file_is_not_copied_out_where_it_is_larger_than_the_limit() {
    let files = filesystem(1 << 20, 100);
    let root = files.root();
    for name in ["other/a", "other/b", "other/c"] {
        let sparse = root.open(name, Follow::No, NEW_FILE, NOW).unwrap();
        sparse.set_size(500 << 10, NOW).unwrap();
    }
    let pack = Pack::new(files, "/other", NOW);
    pack.check(1500 << 10).unwrap();
    let refused = pack.check(1 << 20).unwrap_err();
    assert!(matches!(refused, PackError::TooLarge { .. }), "{refused}");
}

#[test]
fn what_is_not_there_or_no_directory_is_named() {
    let files = roomy();
    put(&files, &[link("l", "/other")]).unwrap();
    for path in ["/work/none", "/none", "/work/l"] {
        let refused = Pack::new(files.clone(), path, NOW).check(1).unwrap_err();
        assert!(refused.to_string().contains(path), "{refused}");
    }
}

#[test]
fn a06_without_its_guard_a_file_is_written_through_a_link() {
    let files = roomy();
    let items = [item("d", Kind::Directory), link("l", "d"), file("l/f", 1)];
    switch_off(Guard::UnpackNoFollow, || put(&files, &items)).unwrap();
    assert!(listed(&files, "/work").contains(&"d/f 1".to_owned()));
}
