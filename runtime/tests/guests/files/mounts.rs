//! Where mounts are, what may not be done to them, and how their files are swapped.

use super::script::*;

#[tokio::test]
async fn one_directory_is_open_from_the_start_where_something_is_mounted() {
    let mut s = Script::new();
    s.soil(BUFFER, 16);
    call!(s, OK, fd_prestat_get(ROOT, BUFFER));
    s.bytes(BUFFER, &[0, 0, 0, 0, 1, 0, 0, 0, 0xff]);
    call!(s, OK, fd_prestat_dir_name(ROOT, BUFFER, 1));
    s.bytes(BUFFER, b"/\0");
    call!(s, NAMETOOLONG, fd_prestat_dir_name(ROOT, BUFFER, 0));
    call!(s, FAULT, fd_prestat_dir_name(ROOT, -1 << 20, 1));
    call!(s, BADF, fd_prestat_get(4, BUFFER));
    call!(s, NOTDIR, fd_prestat_get(1, BUFFER));
    s.open(4, "work", DIRECTORY, READ);
    call!(s, BADF, fd_prestat_get(4, BUFFER));
    call!(s, BADF, fd_prestat_dir_name(4, BUFFER, 8));
    s.run(&work()).await;
}

#[tokio::test]
async fn the_root_lists_the_mounts_and_what_leads_to_them_and_nothing_else() {
    let filesystem = mounted(&[
        empty("/work"),
        empty("/var/data/deep"),
        files("/etc/config", &[("key", "value")]),
    ]);
    let mut s = Script::new();
    s.tell_names(ROOT);
    s.holds(4, "etc/config/key", "value");
    for path in ["x", "var/x", "var/data/x", "etc/x"] {
        call!(s, ROFS, path_create_directory(ROOT, path));
        call!(s, ROFS, path_open(ROOT, 1, path, CREATE, BOTH, 0, 0, OUT));
        call!(s, ROFS, path_symlink("t", ROOT, path));
    }
    call!(s, OK, path_create_directory(ROOT, "var/data/deep/x"));
    call!(
        s,
        OK,
        path_filestat_get(ROOT, 1, "var/data/deep/../deep/x", BUFFER)
    );
    call!(
        s,
        OK,
        path_filestat_get(ROOT, 1, "work/../etc/config/key", BUFFER)
    );
    let ran = s.run(&filesystem).await;
    assert_eq!(names(&ran.bytes), ["etc", "var", "work"]);
}

#[tokio::test]
async fn a_mount_at_the_root_is_the_root() {
    let filesystem = mounted(&[empty("/"), files("/etc", &[("key", "value")])]);
    let mut s = Script::new();
    s.file(4, "f", "hello");
    call!(s, OK, path_create_directory(ROOT, "d"));
    call!(s, PERM, path_filestat_get(ROOT, 1, "..", BUFFER));
    s.tell_names(ROOT);
    let ran = s.run(&filesystem).await;
    assert_eq!(names(&ran.bytes), ["d", "etc", "f"]);
}

pub(crate) fn moves_mounts() -> Attack {
    let filesystem = mounted(&[
        empty("/"),
        empty("/one"),
        empty("/one/inner"),
        empty("/two"),
        empty("/deep/below"),
    ]);
    let mut s = Script::new();
    s.file(4, "f", "root");
    s.file(4, "one/f", "one");
    call!(s, OK, path_create_directory(ROOT, "one/d"));
    call!(s, OK, path_create_directory(ROOT, "d"));
    for (from, to) in [
        ("one/f", "two/f"),
        ("one/f", "f"),
        ("f", "one/g"),
        ("one/d", "two/d"),
        ("one/f", "one/inner/f"),
        ("d", "one/e"),
    ] {
        call!(s, XDEV, path_rename(ROOT, from, ROOT, to));
    }
    for (from, to) in [("one/f", "two/f"), ("f", "two/f"), ("one/f", "one/inner/g")] {
        call!(s, XDEV, path_link(ROOT, 0, from, ROOT, to));
    }
    for (from, to) in [
        ("one", "three"),
        ("two", "d"),
        ("d", "two"),
        ("one/inner", "one/outer"),
        ("one/d", "one/inner"),
        ("deep", "shallow"),
        ("d", "deep"),
    ] {
        call!(s, BUSY, path_rename(ROOT, from, ROOT, to));
    }
    for path in ["one", "two", "one/inner", "deep", "deep/below"] {
        call!(s, BUSY, path_remove_directory(ROOT, path));
        call!(s, ISDIR, path_unlink_file(ROOT, path));
        call!(s, EXIST, path_create_directory(ROOT, path));
        call!(s, EXIST, path_symlink("t", ROOT, path));
    }
    s.holds(4, "one/f", "one");
    s.tell_names(ROOT);
    (s, filesystem)
}

#[tokio::test]
async fn a09_nothing_moves_between_mounts_and_no_mount_point_moves() {
    let (script, filesystem) = moves_mounts();
    let ran = script.run(&filesystem).await;
    assert_eq!(names(&ran.bytes), ["d", "deep", "f", "one", "two"]);
}

#[tokio::test]
async fn files_that_are_swapped_show_in_one_step_and_open_ones_stay() {
    let filesystem = mounted(&[files("/config", &[("key", "old"), ("gone", "x")])]);
    let mut s = Script::new();
    s.open(4, "config/key", 0, READ);
    s.tell(BUFFER, "(i32.const 1)");
    // Waits until the other key is gone.
    let (path, len) = s.text(b"config/gone");
    s.code(&format!(
        "(loop $again (drop (call $sched_yield))
           (br_if $again (i32.eqz (call $path_filestat_get
             (i32.const 3) (i32.const 1) (i32.const {path}) (i32.const {len}) (i32.const {BUFFER})))))"
    ));
    s.holds(5, "config/key", "new");
    s.read(4, 9, "old");
    let running = s.guest(&filesystem).start();
    running.says("\0").await;
    filesystem
        .swap("/config", &content(&[("key", "new")]), 2_000)
        .unwrap();
    s.check(&running.end().await);
}
