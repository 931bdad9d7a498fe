//! What of a folder is copied in, and what of it is refused.

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use agentvm_cell::archive::{ReadError, read};
use tempfile::TempDir;

use super::*;
use crate::run::copy::guards::switch_off;

fn folder(make: impl FnOnce(&Path)) -> TempDir {
    let dir = TempDir::new().unwrap();
    make(dir.path());
    dir
}

fn limits(storage_bytes: u64, inodes: u64) -> Limits {
    Limits {
        storage_bytes,
        inodes,
        ..Limits::default()
    }
}

/// Each item as a line, with the text of a file.
fn gathered(dir: &Path, below: &str, limits: &Limits) -> Result<Vec<String>, GatherError> {
    let mut writer = Writer::new(Vec::new());
    gather(dir, below, &mut writer, &mut Bounds::of(limits))?;
    let archive = writer.finish().unwrap();
    let mut lines = Vec::new();
    let listed = read(&archive[..], |item, content| {
        let mut text = String::new();
        content.read_to_string(&mut text).unwrap();
        lines.push(match item.kind {
            Kind::Directory => format!("{}/", item.path),
            Kind::File { .. } => format!("{} {text}", item.path),
            Kind::Symlink { target } => format!("{} -> {target}", item.path),
            Kind::HardLink { to } => format!("{} == {to}", item.path),
        });
        Ok::<(), ReadError>(())
    });
    listed.unwrap();
    Ok(lines)
}

fn plenty() -> Limits {
    limits(64 << 20, 1000)
}

#[test]
fn a_folder_is_copied_in_the_order_of_its_names() {
    let dir = folder(|dir| {
        std::fs::write(dir.join("b"), "heron").unwrap();
        std::fs::create_dir_all(dir.join("a/ä")).unwrap();
        std::fs::write(dir.join("a/ä/x"), "egret").unwrap();
        std::fs::hard_link(dir.join("b"), dir.join("c")).unwrap();
    });
    let all = gathered(dir.path(), "", &plenty()).unwrap();
    assert_eq!(all, ["a/", "a/ä/", "a/ä/x egret", "b heron", "c heron"]);
    let below = gathered(dir.path(), "in/deep", &plenty()).unwrap();
    assert_eq!(below[..3], ["in/", "in/deep/", "in/deep/a/"]);
    assert_eq!(below.len(), 7, "{below:?}");
}

#[test]
fn a06_links_are_copied_as_links_and_never_followed() {
    let outside = folder(|dir| std::fs::write(dir.join("canary"), "CANARY").unwrap());
    let dir = folder(|dir| {
        symlink("/etc/passwd", dir.join("abs")).unwrap();
        symlink("../../../../etc/passwd", dir.join("rel")).unwrap();
        symlink(outside.path(), dir.join("out")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        symlink("/proc/self/root", dir.join("proc")).unwrap();
        symlink("gone", dir.join("dangling")).unwrap();
    });
    let all = gathered(dir.path(), "", &plenty()).unwrap();
    let out = format!("out -> {}", outside.path().display());
    assert_eq!(
        all,
        [
            "abs -> /etc/passwd",
            "dangling -> gone",
            "loop -> loop",
            out.as_str(),
            "proc -> /proc/self/root",
            "rel -> ../../../../etc/passwd",
        ]
    );
}

#[test]
fn a_folder_that_is_named_by_a_link_is_the_folder() {
    let dir = folder(|dir| {
        std::fs::create_dir(dir.join("real")).unwrap();
        std::fs::write(dir.join("real/x"), "1").unwrap();
        symlink("real", dir.join("link")).unwrap();
    });
    let all = gathered(&dir.path().join("link"), "", &plenty()).unwrap();
    assert_eq!(all, ["x 1"]);
}

#[test]
fn a17_special_files_are_refused_and_nothing_waits_for_them() {
    let fifo = folder(|dir| {
        let mode = Mode::from_bits_retain(0o600);
        rustix::fs::mkfifoat(CWD, dir.join("pipe"), mode).unwrap();
    });
    let socket = folder(|dir| drop(UnixListener::bind(dir.join("sock")).unwrap()));
    for (dir, says) in [
        (fifo, "\"pipe\" is a FIFO"),
        (socket, "\"sock\" is a socket"),
    ] {
        let refused = gathered(dir.path(), "", &plenty()).unwrap_err().to_string();
        assert!(refused.starts_with(says), "{refused}");
    }
    let refused = gathered(Path::new("/dev"), "", &plenty()).unwrap_err();
    assert!(
        matches!(refused, GatherError::Special { .. }),
        "/dev holds devices: {refused}"
    );
}

#[test]
fn a13_names_that_are_not_utf8_are_refused() {
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff");
    let named = folder(|dir| std::fs::write(dir.join(odd), "").unwrap());
    let linked = folder(|dir| symlink(odd, dir.join("l")).unwrap());
    for dir in [named, linked] {
        let refused = gathered(dir.path(), "", &plenty()).unwrap_err().to_string();
        assert!(refused.contains("is not UTF-8"), "{refused}");
    }
}

#[test]
fn more_than_the_vm_may_hold_is_refused_before_it_is_read() {
    let dir = folder(|dir| {
        // Sparse: a terabyte that nobody has to wait for.
        let file = File::create(dir.join("huge")).unwrap();
        file.set_len(1 << 40).unwrap();
    });
    let refused = gathered(dir.path(), "", &limits(64 << 20, 10))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("spec.limits.storage of 64Mi"), "{refused}");
    let dir = folder(|dir| {
        for index in 0..11 {
            std::fs::write(dir.join(index.to_string()), "").unwrap();
        }
    });
    let refused = gathered(dir.path(), "", &limits(64 << 20, 10))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("spec.limits.inodes of 10"), "{refused}");
}

#[test]
fn what_is_no_folder_is_named() {
    let missing = PathBuf::from("/no/such/folder");
    let refused = gathered(&missing, "", &plenty()).unwrap_err().to_string();
    assert!(refused.contains("/no/such/folder"), "{refused}");
}

#[test]
fn a06_without_its_guard_what_a_link_leads_to_is_copied_in() {
    let outside = folder(|dir| std::fs::write(dir.join("canary"), "CANARY").unwrap());
    let dir = folder(|dir| symlink(outside.path(), dir.join("l")).unwrap());
    let all = switch_off(Guard::NoFollow, || gathered(dir.path(), "", &plenty()));
    assert_eq!(all.unwrap(), ["l/", "l/canary CANARY"]);
}

#[test]
fn a17_without_its_guard_a_fifo_is_copied_in() {
    let dir = folder(|dir| {
        let mode = Mode::from_bits_retain(0o600);
        rustix::fs::mkfifoat(CWD, dir.join("pipe"), mode).unwrap();
    });
    let all = switch_off(Guard::SpecialFiles, || gathered(dir.path(), "", &plenty()));
    assert_eq!(all.unwrap(), ["pipe "]);
}
