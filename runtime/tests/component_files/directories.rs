//! Directories: what they list, what is made, moved and removed in them.

use agentvm_fuzz_driver::preview2::calls::{
    CREATE, DIRECTORY, EXCLUSIVE, FOLLOW, IS_DIRECTORY, IS_FILE, IS_LINK, MUTATE_DIRECTORY, READ,
    Reply, WRITE,
};
use agentvm_runtime::vfs::{Budget, Filesystem};

use crate::vm::{Calls, entries, filesystem, names};

#[test]
fn a_vm_without_mounts_has_no_directory_at_all() {
    let nothing = Filesystem::new(Budget::default(), &[], 0).unwrap();
    let mut calls = Calls::new();
    let list = calls.script.preview2("get-directories", &[]);
    let memory = calls.run_on(&nothing);
    assert_eq!(memory.u32(list.stored() + 4), 0);
}

#[test]
fn a10_the_root_lists_the_mounts_and_nothing_else() {
    let filesystem = filesystem();
    assert_eq!(names(&filesystem, "."), ["etc", "work"]);
    assert_eq!(names(&filesystem, "etc"), ["config"]);
    assert_eq!(names(&filesystem, "work"), ["deep", "frozen"]);
    let config = entries(&filesystem, "etc/config", 50);
    assert!(
        config.contains(&(IS_LINK, "app.conf".to_owned())),
        "{config:?}"
    );
}

#[test]
fn a10_paths_of_the_host_do_not_exist() {
    let mut calls = Calls::new();
    let mut replies = Vec::new();
    for path in [
        "proc/self/environ",
        "proc/1/root",
        "dev/fd/3",
        "sys",
        "tmp",
        "etc/shadow",
        "etc/passwd",
        "var/run/secrets/kubernetes.io/serviceaccount/token",
    ] {
        replies.push((path, calls.open(path, 0, READ)));
        replies.push((path, calls.script.stat_at(calls.root, FOLLOW, path)));
        replies.push((path, calls.script.readlink_at(calls.root, path)));
    }
    let memory = calls.run();
    for (path, reply) in replies {
        assert_eq!(memory.code(reply), "no-entry", "{path}");
    }
}

#[test]
fn a20_a_directory_that_changes_while_it_is_read_tells_what_stays_once() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    for index in 0..40 {
        let file = calls.create(&format!("work/f{index:02}"));
        calls.script.drop_handle("drop-descriptor", file);
    }
    let directory = calls.directory("work");
    let listing = calls.script.stream_of("read-directory", directory).handle();
    let mut replies: Vec<_> = (0..10).map(|_| calls.script.next_entry(listing)).collect();
    for index in (0..40).step_by(2) {
        calls.at("unlink-file-at", &format!("work/f{index:02}"));
    }
    for index in 0..20 {
        let file = calls.create(&format!("work/new{index:02}"));
        calls.script.drop_handle("drop-descriptor", file);
    }
    replies.extend((0..60).map(|_| calls.script.next_entry(listing)));
    let memory = calls.run_on(&filesystem);
    let told: Vec<_> = replies
        .into_iter()
        .map_while(|reply| memory.entry(reply))
        .collect();
    for index in (1..40).step_by(2) {
        let name = format!("f{index:02}");
        let times = told.iter().filter(|(_, told)| *told == name).count();
        assert_eq!(times, 1, "{name}");
    }
    assert!(told.len() <= 62, "{told:?}");
    assert!(!told.iter().any(|(_, name)| name == "." || name == ".."));
}

#[test]
fn opening_with_flags_answers_as_posix_has_it() {
    let mut calls = Calls::new();
    calls.write_file("work/f", b"abc");
    calls
        .script
        .symlink_at(calls.root, "nowhere", "work/dangling");
    let root = calls.root;
    let replies = [
        (calls.open("work/f", CREATE | EXCLUSIVE, WRITE), "exist"),
        (
            calls.open("work/dangling", CREATE | EXCLUSIVE, WRITE),
            "exist",
        ),
        (calls.open("work/f", DIRECTORY, READ), "not-directory"),
        (calls.open("work/none", 0, READ), "no-entry"),
        (calls.open("work/none/x", CREATE, WRITE), "no-entry"),
        (
            calls.script.open_at(root, 0, "work/dangling", 0, READ),
            "loop",
        ),
        (calls.open("work/dangling", 0, READ), "no-entry"),
        (calls.open("work", DIRECTORY, READ | MUTATE_DIRECTORY), "ok"),
        (calls.open("etc/config/app.conf", 0, READ), "ok"),
        (calls.open("etc/config/hidden", 0, READ), "access"),
        (calls.open("etc/config/hidden", 0, 0), "ok"),
    ];
    let memory = calls.run();
    for (index, (reply, expected)) in replies.into_iter().enumerate() {
        assert_eq!(memory.code(reply), expected, "{index}");
    }
}

#[test]
fn what_is_in_a_directory_can_be_changed_through_any_handle_of_it() {
    let mut calls = Calls::new();
    let work = calls.directory("work");
    let made = calls.script.at("create-directory-at", work, "d");
    let flags = calls.script.ask("get-flags", work);
    let kind = calls.script.ask("get-type", work);
    let removed = calls.script.at("remove-directory-at", work, "d");
    let memory = calls.run();
    assert_eq!([made, removed].map(|reply| memory.code(reply)), ["ok"; 2]);
    assert_eq!(memory.u8(flags.payload()), 1 | 32);
    assert_eq!(memory.u8(kind.payload()), IS_DIRECTORY);
}

#[test]
fn links_renames_and_removals_go_as_posix_has_them() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let root = calls.root;
    calls.write_file("work/f", b"abc");
    let oks = [
        calls.at("create-directory-at", "work/d"),
        calls.script.link_at(root, 0, "work/f", root, "work/d/hard"),
        calls.script.symlink_at(root, "../f", "work/d/soft"),
        calls.script.rename_at(root, "work/f", root, "work/g"),
    ];
    let fails = [
        (calls.at("create-directory-at", "work/d"), "exist"),
        (calls.at("remove-directory-at", "work/d"), "not-empty"),
        (calls.at("unlink-file-at", "work/d"), "is-directory"),
        (calls.at("remove-directory-at", "work/g"), "not-directory"),
        (
            calls.script.link_at(root, 0, "work/d", root, "work/e"),
            "not-permitted",
        ),
        (
            calls.script.rename_at(root, "work/d", root, "work/d/x"),
            "invalid",
        ),
        (
            calls.script.rename_at(root, "work/g", root, "work/d"),
            "is-directory",
        ),
        (
            calls.script.rename_at(root, "work/d", root, "work/g"),
            "not-directory",
        ),
        (
            calls.script.stat_at(root, FOLLOW, "work/d/soft"),
            "no-entry",
        ),
    ];
    let target = calls.script.readlink_at(root, "work/d/soft");
    let hard = calls.script.stat_at(root, 0, "work/d/hard");
    let memory = calls.run_on(&filesystem);
    assert_eq!(oks.map(|reply| memory.code(reply)), ["ok"; 4]);
    for (index, (reply, expected)) in fails.into_iter().enumerate() {
        assert_eq!(memory.code(reply), expected, "{index}");
    }
    assert_eq!(memory.list(target), b"../f");
    assert_eq!(memory.u8(hard.payload()), IS_FILE);
    assert_eq!(memory.u64(hard.payload() + 8), 2);
    assert_eq!(names(&filesystem, "work/d"), ["hard", "soft"]);
}

#[test]
fn objects_are_told_apart_and_hashes_name_them() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let root = calls.root;
    let file = calls.write_file("work/f", b"abc");
    let same = calls.open("work/f", 0, READ).handle();
    let other = calls.create("work/g");
    let asked =
        [[file, same], [file, other]].map(|pair| calls.script.preview2("is-same-object", &pair));
    let before = calls.script.metadata_hash(file);
    calls.script.write(file, b"more", 10);
    let after = calls.script.metadata_hash(file);
    let by_path = calls.script.metadata_hash_at(root, 0, "work/f");
    let others = calls.script.metadata_hash(other);
    let memory = calls.run_on(&filesystem);
    assert_eq!(asked.map(|answer| memory.returned(answer)), [1, 0]);
    let hash = |reply: Reply| memory.bytes(reply.payload(), 16);
    assert_eq!(hash(before), hash(after));
    assert_eq!(hash(before), hash(by_path));
    assert_ne!(hash(before), hash(others));

    let mut calls = Calls::new();
    let again = calls.script.metadata_hash_at(calls.root, 0, "work/f");
    let other_vm = calls.run_on(&filesystem);
    assert_ne!(other_vm.bytes(again.payload(), 16), hash(before));
}

#[test]
fn times_are_set_and_shown() {
    let mut calls = Calls::new();
    let root = calls.root;
    let file = calls.create("work/f");
    let set = calls.script.set_times(file, [Some(7_000_000_009), None]);
    let by_path = calls
        .script
        .set_times_at(root, 0, "work/f", [None, Some(u64::MAX)]);
    let stat = calls.script.stat(file);
    let memory = calls.run();
    assert_eq!([set, by_path].map(|reply| memory.code(reply)), ["ok"; 2]);
    let time = |offset| {
        let at = stat.payload() + offset;
        (memory.u8(at), memory.u64(at + 8), memory.u32(at + 16))
    };
    assert_eq!(time(24), (1, 7, 9));
    assert_eq!(time(48), (1, u64::MAX / 1_000_000_000, 709_551_615));
}
