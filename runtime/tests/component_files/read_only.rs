//! Mounts that can't be changed, mount points, and what crosses from one mount to another.

use agentvm_fuzz_driver::preview2::calls::{CREATE, FOLLOW, READ, Reply, TRUNCATE, WRITE};

use crate::vm::{Calls, filesystem, names};

#[test]
fn a08_no_call_changes_a_read_only_mount() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let root = calls.root;
    let config = calls.directory("etc/config");
    let file = calls.open("etc/config/app.conf", 0, READ).handle();
    let before = calls.script.stat(file);
    calls.write_file("work/f", b"x");
    let replies = [
        calls.open("etc/config/app.conf", 0, WRITE),
        calls.open("etc/config/app.conf", 0, READ | WRITE),
        calls.open("etc/config/app.conf", TRUNCATE, READ),
        calls.open("etc/config/app.conf", TRUNCATE, WRITE),
        calls.open("etc/config/new", CREATE, WRITE),
        calls.open("etc/config/new", CREATE, READ),
        calls.open("work/frozen/new", CREATE, READ | WRITE),
        calls.script.open_at(config, FOLLOW, "new", CREATE, READ),
        calls.script.at("create-directory-at", config, "d"),
        calls.at("create-directory-at", "work/frozen/d"),
        calls.at("unlink-file-at", "etc/config/app.conf"),
        calls.at("unlink-file-at", "etc/config/..data"),
        calls.script.set_times(file, [Some(1), Some(1)]),
        calls
            .script
            .set_times_at(root, FOLLOW, "etc/config/app.conf", [Some(1), None]),
        calls
            .script
            .set_times_at(root, 0, "work/frozen", [Some(1), None]),
        calls
            .script
            .rename_at(root, "etc/config/app.conf", root, "etc/config/b"),
        calls.script.rename_at(config, "app.conf", config, "b"),
        calls
            .script
            .link_at(root, FOLLOW, "etc/config/app.conf", root, "etc/config/b"),
        calls.script.symlink_at(root, "app.conf", "etc/config/l"),
        calls.script.symlink_at(root, "x", "work/frozen/l"),
    ];
    let written = calls.script.write(file, b"x", 0);
    let appended = calls.script.stream_of("append-via-stream", file);
    let resized = calls.script.set_size(file, 0);
    let after = calls.script.stat(file);
    let content = calls.script.read(file, 100, 0);
    let memory = calls.run_on(&filesystem);
    for (index, reply) in replies.into_iter().enumerate() {
        assert_eq!(memory.code(reply), "read-only", "{index}");
    }
    assert_eq!(memory.code(written), "read-only");
    assert_eq!(memory.code(appended), "read-only");
    assert_eq!(memory.code(resized), "read-only");
    assert_eq!(memory.list(content), b"a=1");
    let stat = |reply: Reply| memory.bytes(reply.payload(), 96);
    assert_eq!(stat(before), stat(after));
    assert_eq!(names(&filesystem, "work/frozen"), Vec::<String>::new());
}

#[test]
fn a09_names_do_not_cross_mounts() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let root = calls.root;
    calls.write_file("work/f", b"x");
    calls.write_file("work/deep/other/g", b"y");
    let (work, other) = (calls.directory("work"), calls.directory("work/deep/other"));
    let crossing = [
        calls
            .script
            .rename_at(root, "work/f", root, "work/deep/other/f"),
        calls.script.rename_at(work, "f", other, "f"),
        calls.script.rename_at(work, "f", other, "g"),
        calls
            .script
            .link_at(root, 0, "work/f", root, "work/deep/other/f"),
        calls.script.link_at(other, 0, "g", work, "g"),
    ];
    let memory = calls.run_on(&filesystem);
    assert_eq!(
        crossing.map(|reply| memory.code(reply)),
        ["cross-device"; 5]
    );
    assert_eq!(names(&filesystem, "work"), ["deep", "f", "frozen"]);
    assert_eq!(names(&filesystem, "work/deep/other"), ["g"]);
}

#[test]
fn a09_mount_points_and_what_leads_to_them_stay() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let root = calls.root;
    calls.at("create-directory-at", "work/d");
    let replies = [
        calls.at("remove-directory-at", "work/frozen"),
        calls.at("remove-directory-at", "work/deep/other"),
        calls.at("remove-directory-at", "work/deep"),
        calls
            .script
            .rename_at(root, "work/frozen", root, "work/moved"),
        calls
            .script
            .rename_at(root, "work/deep", root, "work/moved"),
        calls
            .script
            .rename_at(root, "work/deep/other", root, "work/moved"),
        calls.script.rename_at(root, "work/d", root, "work/frozen"),
        calls.script.rename_at(root, "work/d", root, "work/deep"),
    ];
    let memory = calls.run_on(&filesystem);
    for (index, reply) in replies.into_iter().enumerate() {
        let code = memory.code(reply);
        assert!(["busy", "cross-device"].contains(&code), "{index}: {code}");
    }
    assert_eq!(names(&filesystem, "work"), ["d", "deep", "frozen"]);
    assert_eq!(names(&filesystem, "."), ["etc", "work"]);
}
