//! What a guest's archive may make of a folder, and what not.

use std::io::Write as _;
use std::os::unix::fs::symlink;

use agentvm_cell::archive::Writer;
use tempfile::TempDir;

use super::*;
use crate::run::copy::guards::switch_off;

fn item(path: &str, kind: Kind) -> Item {
    Item {
        path: path.to_owned(),
        kind,
        modified_unix_s: 1_700_000_000,
    }
}

fn file(path: &str) -> Item {
    item(path, Kind::File { bytes: 5 })
}

fn link(path: &str, target: &str) -> Item {
    let target = target.to_owned();
    item(path, Kind::Symlink { target })
}

fn directory(path: &str) -> Item {
    item(path, Kind::Directory)
}

/// An archive as the cell would send it, or as a cell would that a guest has taken over.
fn archive(items: &[Item]) -> File {
    let mut writer = Writer::new(tempfile::tempfile().unwrap());
    for item in items {
        writer.add(item, &mut &b"heron"[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// Where something could be written that must not be.
struct Outside {
    dir: TempDir,
}

impl Outside {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "CANARY").unwrap();
        Self { dir }
    }

    fn path(&self) -> &str {
        self.dir.path().to_str().unwrap()
    }

    fn is_untouched(&self) {
        let text = std::fs::read_to_string(self.dir.path().join("etc/passwd")).unwrap();
        assert_eq!(text, "CANARY");
        assert_eq!(
            std::fs::read_dir(self.dir.path().join("etc"))
                .unwrap()
                .count(),
            1
        );
        assert_eq!(std::fs::read_dir(self.dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn what_a_vm_left_is_in_the_folder() {
    let home = TempDir::new().unwrap();
    let dir = home.path().join("new/results");
    let to = "a/ä".to_owned();
    let items = [
        directory("a"),
        file("a/ä"),
        link("l", "/etc/passwd"),
        item("h", Kind::HardLink { to }),
    ];
    check(&dir).unwrap();
    scatter(&archive(&items), &dir).unwrap();
    assert_eq!(std::fs::read_to_string(dir.join("a/ä")).unwrap(), "heron");
    assert_eq!(std::fs::read_to_string(dir.join("h")).unwrap(), "heron");
    assert_eq!(
        std::fs::read_link(dir.join("l")).unwrap(),
        Path::new("/etc/passwd")
    );
    let modified = dir.join("a/ä").metadata().unwrap().modified().unwrap();
    let unix = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!(unix.as_secs(), 1_700_000_000);
}

#[test]
fn a06_nothing_is_written_through_a_link_that_the_guest_made() {
    let outside = Outside::new();
    let etc = format!("{}/etc", outside.path());
    let passwd = format!("{etc}/passwd");
    let hard = |path: &str, to: &str| item(path, Kind::HardLink { to: to.to_owned() });
    let cases: [&[Item]; 9] = [
        &[link("l", &etc), file("l/new")],
        &[link("l", &etc), directory("l/new")],
        &[link("l", &etc), link("l/new", "x")],
        &[link("l", &passwd), file("l")],
        &[
            directory("d"),
            link("d/l", &etc),
            directory("d/l/x"),
            file("d/l/x/y"),
        ],
        &[link("a", &etc), link("b", "a"), file("b/new")],
        &[link("l", &passwd), hard("h", "l"), file("h")],
        &[file("f"), link("l", &etc), hard("l/h", "f")],
        &[link("l", &etc), hard("h", "l/passwd")],
    ];
    for items in cases {
        let dir = TempDir::new().unwrap();
        let refused = scatter(&archive(items), dir.path());
        assert!(refused.is_err(), "{items:?}");
        outside.is_untouched();
    }
}

#[test]
fn a01_nothing_is_written_above_the_folder() {
    for path in ["../evil", "/tmp/agentvm-evil", "a/../../evil", "..", ""] {
        let home = TempDir::new().unwrap();
        let dir = home.path().join("out");
        assert!(scatter(&archive(&[file(path)]), &dir).is_err(), "{path:?}");
        assert_eq!(
            std::fs::read_dir(home.path()).unwrap().count(),
            1,
            "{path:?}"
        );
        assert!(
            is_empty(&File::open(&dir).unwrap().into()).unwrap(),
            "{path:?}"
        );
    }
}

#[test]
fn a_file_is_never_replaced() {
    for items in [
        [file("f"), file("f")],
        [file("f"), directory("f")],
        [directory("f"), file("f")],
        [file("f"), file("f/x")],
    ] {
        let dir = TempDir::new().unwrap();
        assert!(scatter(&archive(&items), dir.path()).is_err(), "{items:?}");
    }
}

#[test]
fn only_an_empty_folder_or_none_is_filled() {
    let dir = TempDir::new().unwrap();
    check(dir.path()).unwrap();
    check(&dir.path().join("none")).unwrap();
    let mut precious = File::create(dir.path().join("precious")).unwrap();
    precious.write_all(b"mine").unwrap();
    let says = |refused: Result<(), ScatterError>| refused.unwrap_err().to_string();
    assert!(says(check(dir.path())).contains("is not empty"));
    assert!(says(scatter(&archive(&[file("f")]), dir.path())).contains("is not empty"));
    assert!(!dir.path().join("f").exists());
    let at = dir.path().join("precious");
    assert!(says(check(&at)).contains("can't be used"), "a file");
    // A link that the user named is followed: it is theirs.
    let real = TempDir::new().unwrap();
    symlink(real.path(), dir.path().join("link")).unwrap();
    scatter(&archive(&[file("f")]), &dir.path().join("link")).unwrap();
    assert!(real.path().join("f").exists());
}

#[test]
fn an_archive_that_is_cut_short_is_an_error() {
    let whole = archive(&[file("f")]);
    let cut = whole.metadata().unwrap().len() - 1024;
    whole.set_len(cut).unwrap();
    let dir = TempDir::new().unwrap();
    assert!(scatter(&whole, dir.path()).is_err());
}

#[test]
fn a06_without_its_guard_a_file_is_written_through_a_link() {
    let outside = Outside::new();
    let etc = format!("{}/etc", outside.path());
    let dir = TempDir::new().unwrap();
    let hostile = archive(&[link("l", &etc), file("l/new")]);
    switch_off(Guard::NoFollow, || scatter(&hostile, dir.path())).unwrap();
    assert!(outside.dir.path().join("etc/new").exists());
}

#[test]
fn a06_without_its_guard_a_file_is_replaced() {
    let dir = TempDir::new().unwrap();
    std::fs::write(dir.path().join("f"), "mine").unwrap();
    let hostile = archive(&[file("f")]);
    switch_off(Guard::NewFiles, || scatter(&hostile, dir.path())).unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.path().join("f")).unwrap(),
        "heron"
    );
}
