//! Archives over the socket: unpacked under the VM's quotas before its start, packed after its
//! end, and refused where they are hostile.

use std::process::Command;

use agentvm_cell::archive::{Item, Kind, ReadError, Writer, read};
use agentvm_cell_api::cell::{VmSpec, VmState};
use agentvm_cell_api::client::ClientError;
use agentvm_cell_api::mounts::{Mount, MountSource};
use agentvm_cell_api::problem::Reason;
use agentvm_cell_api::warden::Module;
use agentvm_policy::EndReason;
use bytes::Bytes;

use crate::harness::{Node, TestCell, spec};
use crate::wat;

/// What is kept of an archive in these tests.
const MOST: u64 = 16 << 20;

/// A VM whose `/work` begins with what the archive `name` holds.
fn unpacking(module: &Module, name: &str) -> VmSpec {
    let mut spec = spec(module);
    spec.mounts = vec![Mount {
        path: "/work".to_owned(),
        read_only: false,
        source: MountSource::EmptyDir {
            size_limit_bytes: None,
            archive: Some(name.to_owned()),
        },
    }];
    spec.keep_files = true;
    spec
}

fn file(path: &str, bytes: u64) -> Item {
    item(path, Kind::File { bytes })
}

fn item(path: &str, kind: Kind) -> Item {
    Item {
        path: path.to_owned(),
        kind,
        modified_unix_s: 1_700_000_000,
    }
}

fn archive(items: &[Item]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for item in items {
        writer.add(item, &mut std::io::repeat(b'x')).unwrap();
    }
    writer.finish().unwrap()
}

async fn put(cell: &TestCell, name: &str, archive: Vec<u8>) -> Result<(), ClientError> {
    let pieces = archive
        .chunks(1000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)));
    let pieces: Vec<std::io::Result<Bytes>> = pieces.collect();
    cell.client
        .put_archive(name, futures::stream::iter(pieces))
        .await
}

async fn left(cell: &TestCell, uid: &str, path: &str) -> Result<Vec<u8>, ClientError> {
    let mut out = Vec::new();
    cell.client.archive(uid, path, MOST, &mut out).await?;
    Ok(out)
}

fn listed(archive: &[u8]) -> Vec<String> {
    let mut lines = Vec::new();
    read(archive, |item, content| {
        let bytes = std::io::copy(content, &mut std::io::sink()).unwrap();
        lines.push(format!("{} {bytes}", item.path));
        Ok::<(), ReadError>(())
    })
    .unwrap();
    lines.sort();
    lines
}

fn reason(refused: &ClientError) -> Reason {
    refused.reason().unwrap()
}

#[tokio::test]
async fn what_is_put_is_there_after_the_end_until_it_is_deleted() {
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    let module = node.compile(&wat::exits(3)).await;
    let items = [
        item("d", Kind::Directory),
        file("d/large", 300_000),
        file("small", 1),
    ];
    put(&cell, "first", archive(&items)).await.unwrap();
    cell.put("u-1", &unpacking(&module, "first")).await;
    assert_eq!(cell.ends("u-1").await, (EndReason::Error, Some(3)));
    let all = left(&cell, "u-1", "/work").await.unwrap();
    assert_eq!(listed(&all), ["d 0", "d/large 300000", "small 1"]);
    let one = left(&cell, "u-1", "/work/d/large").await.unwrap();
    assert_eq!(listed(&one), ["large 300000"]);
    let usage = cell
        .client
        .stats()
        .await
        .unwrap()
        .vms
        .remove("u-1")
        .unwrap();
    assert!(usage.storage_bytes > 300_000, "{usage:?}");

    // Each start takes its own: the archive is gone, and so are the files with the VM.
    cell.client
        .delete_vm("u-1", std::time::Duration::ZERO, EndReason::Stopped)
        .await
        .unwrap();
    let gone = left(&cell, "u-1", "/work").await.unwrap_err();
    assert_eq!(reason(&gone), Reason::NotFound);
    let again = cell
        .client
        .put_vm("u-2", &unpacking(&module, "first"))
        .await;
    assert_eq!(reason(&again.unwrap_err()), Reason::InvalidMounts);
}

#[tokio::test]
async fn files_are_only_read_where_they_are_kept_and_the_vm_has_ended() {
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    let waits = node.compile(&wat::waits()).await;
    put(&cell, "a", archive(&[file("f", 1)])).await.unwrap();
    cell.put("u-1", &unpacking(&waits, "a")).await;
    cell.reaches("u-1", VmState::Running).await;
    let runs = left(&cell, "u-1", "/work").await.unwrap_err();
    assert_eq!(reason(&runs), Reason::Conflict);

    let module = node.compile(&wat::exits(0)).await;
    put(&cell, "b", archive(&[file("f", 1)])).await.unwrap();
    let mut forgetful = unpacking(&module, "b");
    forgetful.keep_files = false;
    cell.put("u-2", &forgetful).await;
    cell.ends("u-2").await;
    let dropped = left(&cell, "u-2", "/work").await.unwrap_err();
    assert_eq!(reason(&dropped), Reason::NotFound);

    put(&cell, "c", archive(&[file("f", 1)])).await.unwrap();
    cell.put("u-3", &unpacking(&module, "c")).await;
    cell.ends("u-3").await;
    for path in ["/work/none", "/other", "/work/../work", "work", "/work/f/x"] {
        let refused = left(&cell, "u-3", path).await;
        // A path without its first slash is the same path.
        let expected = (path != "work" && path != "/work/../work").then_some(Reason::NotFound);
        assert_eq!(refused.as_ref().err().map(reason), expected, "{path}");
    }
}

#[tokio::test]
async fn e08_hostile_archives_are_refused_and_their_vm_does_not_start() {
    let node = Node::start().await;
    let cell = node.cell("team-a").await;
    let module = node.compile(&wat::prints("never")).await;
    let target = "/etc".to_owned();
    let to = "l/x".to_owned();
    let whole = archive(&[file("f", 5000)]);
    let many: Vec<Item> = (0..2000).map(|index| file(&index.to_string(), 0)).collect();
    for (uid, archive, expected) in [
        ("text", b"#!/bin/sh\n".repeat(200), Reason::InvalidMounts),
        ("none", Vec::new(), Reason::InvalidMounts),
        ("cut", whole[..2000].to_vec(), Reason::InvalidMounts),
        ("bytes", archive(&[file("f", 2 << 20)]), Reason::NoSpace),
        ("names", archive(&many), Reason::NoSpace),
        (
            "link",
            archive(&[item("l", Kind::Symlink { target }), file("l/f", 1)]),
            Reason::InvalidMounts,
        ),
        (
            "hard",
            archive(&[item("h", Kind::HardLink { to })]),
            Reason::InvalidMounts,
        ),
        ("gnu", gnu(&["dev"]), Reason::InvalidMounts),
        ("up", gnu(&["-P", "../dev/../up"]), Reason::InvalidMounts),
    ] {
        put(&cell, uid, archive).await.unwrap();
        let refused = cell.client.put_vm(uid, &unpacking(&module, uid)).await;
        let refused = refused.unwrap_err();
        assert!(refused.to_string().contains("/work"), "{uid}: {refused}");
        assert_eq!(reason(&refused), expected, "{uid}");
        assert_eq!(cell.client.vm(uid).await.unwrap(), None, "{uid}");
    }
    // And the cell is as well as before.
    put(&cell, "good", gnu(&["good"])).await.unwrap();
    cell.put("u-1", &unpacking(&module, "good")).await;
    cell.ends("u-1").await;
    let all = left(&cell, "u-1", "/work").await.unwrap();
    assert_eq!(listed(&all), ["good 0", "good/f 4"]);
}

/// An archive by the machine's own `tar`, of a folder with a FIFO in `dev` and a file in `good`.
fn gnu(arguments: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for name in ["dev", "good", "up"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("good/f"), "four").unwrap();
    let made = Command::new("mkfifo")
        .arg(folder.path().join("dev/pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    let tar = Command::new("tar")
        .args(["--format=gnu", "-c"])
        .args(arguments)
        .current_dir(if arguments.contains(&"-P") {
            folder.path().join("good")
        } else {
            folder.path().to_owned()
        })
        .output()
        .unwrap();
    assert!(tar.status.success(), "{tar:?}");
    tar.stdout
}
