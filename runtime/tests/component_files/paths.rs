//! Paths that try to lead out, by `..`, by links and by slashes.

use agentvm_fuzz_driver::preview2::calls::{CREATE, FOLLOW, READ, Reply, WRITE};
use agentvm_fuzz_driver::{Arg, Memory};

use crate::vm::Calls;

/// Every call that takes a path, on `path` below `base`.
fn every_call(calls: &mut Calls, base: Arg, path: &str) -> Vec<(&'static str, Reply)> {
    let (script, root) = (&mut calls.script, calls.root);
    vec![
        ("open", script.open_at(base, FOLLOW, path, 0, READ)),
        (
            "create",
            script.open_at(base, FOLLOW, path, CREATE, READ | WRITE),
        ),
        ("stat", script.stat_at(base, FOLLOW, path)),
        ("hash", script.metadata_hash_at(base, FOLLOW, path)),
        (
            "times",
            script.set_times_at(base, FOLLOW, path, [Some(1), None]),
        ),
        ("mkdir", script.at("create-directory-at", base, path)),
        ("rmdir", script.at("remove-directory-at", base, path)),
        ("unlink", script.at("unlink-file-at", base, path)),
        ("readlink", script.readlink_at(base, path)),
        (
            "link",
            script.link_at(base, FOLLOW, path, root, "work/linked"),
        ),
        (
            "link to",
            script.link_at(root, 0, "work/inside/f", base, path),
        ),
        ("rename", script.rename_at(base, path, root, "work/renamed")),
        (
            "rename to",
            script.rename_at(root, "work/inside/f", base, path),
        ),
        ("symlink", script.symlink_at(base, "x", path)),
    ]
}

/// A file `/work/secret`, a directory `/work/inside` with a file `f`, and its handle.
fn inside(calls: &mut Calls) -> Arg {
    calls.write_file("work/secret", b"secret");
    calls.at("create-directory-at", "work/inside");
    calls.write_file("work/inside/f", b"inside");
    calls.directory("work/inside")
}

fn assert_all(memory: &Memory, replies: &[(&'static str, Reply)], code: &str, path: &str) {
    for &(call, reply) in replies {
        assert_eq!(memory.code(reply), code, "{call} of {path}");
    }
}

#[test]
fn a01_no_path_leads_above_the_directory_it_starts_from() {
    let many = "../".repeat(1_300);
    for path in [
        "..",
        "../secret",
        "./../secret",
        "../inside/../secret",
        "/work/secret",
        "//",
        "/",
        "../../../../../../etc/passwd",
        many.as_str(),
    ] {
        let mut calls = Calls::new();
        let base = inside(&mut calls);
        let replies = every_call(&mut calls, base, path);
        let memory = calls.run();
        assert_all(&memory, &replies, "not-permitted", path);
    }
}

#[test]
fn a01_dots_inside_are_resolved_inside() {
    let mut calls = Calls::new();
    let base = inside(&mut calls);
    calls.at("create-directory-at", "work/inside/a");
    let inner = [
        "./f",
        "a/../f",
        "a/./../f",
        ".//f",
        "a//..//f",
        "a/../a/../f",
    ]
    .map(|path| calls.script.stat_at(base, FOLLOW, path));
    let outside = ["a/../../secret", "a/../../inside/f", "f/../f"]
        .map(|path| calls.script.stat_at(base, FOLLOW, path));
    let memory = calls.run();
    assert_eq!(inner.map(|reply| memory.code(reply)), ["ok"; 6]);
    assert_eq!(
        outside.map(|reply| memory.code(reply)),
        ["not-permitted", "not-permitted", "not-directory"]
    );
}

#[test]
fn a02_a_link_to_an_absolute_path_is_neither_made_nor_read() {
    let mut calls = Calls::new();
    let root = calls.root;
    let made = ["/etc/passwd", "/", "/work/secret"]
        .map(|target| calls.script.symlink_at(root, target, "work/l"));
    let there = calls.script.stat_at(root, 0, "work/l");
    let memory = calls.run();
    assert_eq!(made.map(|reply| memory.code(reply)), ["not-permitted"; 3]);
    assert_eq!(memory.code(there), "no-entry");
}

#[test]
fn a02_a_link_that_leads_out_is_made_and_not_followed() {
    let mut calls = Calls::new();
    let base = inside(&mut calls);
    let links = [
        ("up", "../secret"),
        ("far", "../../../../etc/passwd"),
        ("chain", "up"),
        ("dir", ".."),
    ];
    for (name, target) in links {
        calls.script.symlink_at(base, target, name);
    }
    let followed = ["up", "far", "chain", "dir/secret", "dir/inside/f"]
        .map(|path| calls.script.open_at(base, FOLLOW, path, 0, READ));
    let created = calls.script.open_at(base, FOLLOW, "up", CREATE, WRITE);
    let from_above = calls.script.stat_at(calls.root, FOLLOW, "work/inside/up");
    let out = calls.script.stat_at(calls.root, FOLLOW, "work/inside/far");
    let memory = calls.run();
    assert_eq!(
        followed.map(|reply| memory.code(reply)),
        ["not-permitted"; 5]
    );
    assert_eq!(memory.code(created), "not-permitted");
    assert_eq!(memory.code(from_above), "ok");
    assert_eq!(memory.code(out), "not-permitted");
}

#[test]
fn a03_a_trailing_slash_never_changes_where_a_path_may_lead() {
    for target in ["..", "../", "..///", "../.", "../secret", "../secret/"] {
        for slashes in ["", "/", "//", "/."] {
            let mut calls = Calls::new();
            let base = inside(&mut calls);
            calls.script.symlink_at(base, target, "l");
            let path = format!("l{slashes}");
            let opened = calls.script.open_at(base, FOLLOW, &path, 0, READ);
            let stat = calls.script.stat_at(base, FOLLOW, &path);
            let below = calls
                .script
                .stat_at(base, FOLLOW, &format!("{path}/secret"));
            let memory = calls.run();
            for reply in [opened, stat, below] {
                assert_eq!(memory.code(reply), "not-permitted", "{target} {path}");
            }
        }
    }
}

#[test]
fn a04_a_link_that_moves_leads_no_further_than_before() {
    let mut calls = Calls::new();
    let base = inside(&mut calls);
    calls.script.at("create-directory-at", base, "d");
    calls.script.symlink_at(base, "../../secret", "d/l");
    for (from, to) in [("d/l/", "l"), ("d/l", "l/"), ("d/l/", "l/"), ("d/l", "l")] {
        calls.script.rename_at(base, from, base, to);
    }
    let replies =
        ["l", "l/", "d/l", "d/l/"].map(|path| calls.script.open_at(base, FOLLOW, path, 0, READ));
    let memory = calls.run();
    for reply in replies {
        assert_ne!(memory.code(reply), "ok");
    }
}

#[test]
fn a15_links_that_lead_in_circles_end() {
    let mut calls = Calls::new();
    let root = calls.root;
    calls.script.symlink_at(root, "b", "work/a");
    calls.script.symlink_at(root, "a", "work/b");
    calls.script.symlink_at(root, "self/x", "work/self");
    calls.write_file("work/l0", b"end");
    for index in 1..=41 {
        calls
            .script
            .symlink_at(root, &format!("l{}", index - 1), &format!("work/l{index}"));
    }
    let replies = ["a", "a/x", "self", "l41", "l40"]
        .map(|name| calls.script.stat_at(root, FOLLOW, &format!("work/{name}")));
    let memory = calls.run();
    assert_eq!(
        replies.map(|reply| memory.code(reply)),
        ["loop", "loop", "loop", "loop", "ok"]
    );
}
