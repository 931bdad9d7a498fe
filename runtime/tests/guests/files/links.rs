//! Symbolic and hard links: where they lead, and where they don't.

use super::script::*;

#[tokio::test]
async fn a_link_is_followed_or_meant_itself() {
    let mut s = Script::new();
    s.file(4, "work/f", "hello");
    call!(s, OK, path_symlink("f", ROOT, "work/l"));
    call!(s, OK, path_symlink("missing", ROOT, "work/dangling"));
    s.holds(4, "work/l", "hello");
    call!(s, LOOP, path_open(ROOT, 0, "work/l", 0, READ, 0, 0, OUT));
    call!(
        s,
        NOTDIR,
        path_open(ROOT, 0, "work/l", DIRECTORY, READ, 0, 0, OUT)
    );
    call!(s, OK, path_filestat_get(ROOT, 0, "work/l", BUFFER));
    s.word(BUFFER + 16, 7);
    s.long(BUFFER + 32, 1);
    call!(s, OK, path_filestat_get(ROOT, 1, "work/l", BUFFER));
    s.word(BUFFER + 16, 4);
    s.long(BUFFER + 32, 5);
    call!(
        s,
        NOENT,
        path_filestat_get(ROOT, 1, "work/dangling", BUFFER)
    );
    call!(s, OK, path_filestat_get(ROOT, 0, "work/dangling", BUFFER));
    call!(
        s,
        EXIST,
        path_open(
            ROOT,
            1,
            "work/dangling",
            CREATE | EXCLUSIVE,
            BOTH,
            0,
            0,
            OUT
        )
    );
    s.file(4, "work/dangling", "made");
    s.holds(4, "work/missing", "made");
    call!(s, OK, path_unlink_file(ROOT, "work/l"));
    s.holds(4, "work/f", "hello");
    s.run(&work()).await;
}

#[tokio::test]
async fn the_target_of_a_link_is_cut_where_the_buffer_ends() {
    let mut s = Script::new();
    call!(s, OK, path_symlink("a/target", ROOT, "work/l"));
    for (room, got) in [
        (0, ""),
        (1, "a"),
        (7, "a/targe"),
        (8, "a/target"),
        (60, "a/target"),
    ] {
        s.soil(BUFFER, 64);
        call!(s, OK, path_readlink(ROOT, "work/l", BUFFER, room, OUT));
        s.word(OUT, i64::try_from(got.len()).unwrap());
        s.bytes(BUFFER, got.as_bytes());
        s.bytes(BUFFER + i64::try_from(got.len()).unwrap(), &[0xff]);
    }
    s.file(4, "work/f", "");
    call!(s, INVAL, path_readlink(ROOT, "work/f", BUFFER, 64, OUT));
    call!(s, INVAL, path_readlink(ROOT, "work", BUFFER, 64, OUT));
    call!(s, FAULT, path_readlink(ROOT, "work/l", -4, 64, OUT));
    s.run(&work()).await;
}

#[tokio::test]
async fn hard_links_are_further_names_of_one_file() {
    let mut s = Script::new();
    s.file(4, "work/f", "one");
    call!(s, OK, path_create_directory(ROOT, "work/d"));
    call!(s, OK, path_link(ROOT, 0, "work/f", ROOT, "work/d/g"));
    call!(s, OK, path_filestat_get(ROOT, 1, "work/d/g", BUFFER));
    s.long(BUFFER + 24, 2);
    s.open(4, "work/d/g", 0, WRITE);
    s.write(4, "two");
    call!(s, OK, fd_close(4));
    call!(s, OK, path_unlink_file(ROOT, "work/f"));
    s.holds(4, "work/d/g", "two");
    call!(s, EXIST, path_link(ROOT, 0, "work/d/g", ROOT, "work/d"));
    call!(s, PERM, path_link(ROOT, 0, "work/d", ROOT, "work/e"));
    call!(s, NOENT, path_link(ROOT, 0, "work/f", ROOT, "work/e"));
    // The link itself, or what it leads to.
    call!(s, OK, path_symlink("d/g", ROOT, "work/l"));
    call!(s, OK, path_link(ROOT, 0, "work/l", ROOT, "work/same"));
    call!(s, OK, path_link(ROOT, 1, "work/l", ROOT, "work/target"));
    call!(s, OK, path_filestat_get(ROOT, 0, "work/same", BUFFER));
    s.word(BUFFER + 16, 7);
    call!(s, OK, path_filestat_get(ROOT, 0, "work/target", BUFFER));
    s.word(BUFFER + 16, 4);
    s.run(&work()).await;
}

/// Every call that follows a link, with what it answers for one that leads nowhere.
fn through(s: &mut Script, fd: i64, link: &str, errno: i32) {
    let below = format!("{link}/passwd");
    call!(s, errno, path_open(fd, 1, link, 0, READ, 0, 0, OUT));
    call!(s, errno, path_open(fd, 1, link, DIRECTORY, READ, 0, 0, OUT));
    call!(s, errno, path_open(fd, 1, &below, CREATE, BOTH, 0, 0, OUT));
    call!(s, errno, path_filestat_get(fd, 1, link, BUFFER));
    call!(s, errno, path_filestat_get(fd, 0, &below, BUFFER));
    call!(s, errno, path_filestat_set_times(fd, 1, link, 0, 0, 0));
    call!(s, errno, path_readlink(fd, &below, BUFFER, 64, OUT));
    call!(s, errno, path_create_directory(fd, &below));
    call!(s, errno, path_remove_directory(fd, &below));
    call!(s, errno, path_unlink_file(fd, &below));
    call!(s, errno, path_rename(fd, &below, fd, "x"));
    call!(s, errno, path_rename(fd, "f", fd, &below));
    call!(s, errno, path_link(fd, 1, link, fd, "x"));
    call!(s, errno, path_link(fd, 0, "f", fd, &below));
    call!(s, errno, path_symlink("t", fd, &below));
}

pub(crate) fn follows_absolute_links() -> Attack {
    let mut s = Script::new();
    s.file(4, "work/f", "");
    for (target, name) in [
        ("/etc", "work/etc"),
        ("/", "work/root"),
        ("//work//", "work/self"),
    ] {
        call!(s, OK, path_symlink(target, ROOT, name));
    }
    s.open(4, "work", DIRECTORY, READ);
    // From `/`, they mean the guest's own root.
    call!(s, NOENT, path_filestat_get(ROOT, 1, "work/etc", BUFFER));
    call!(
        s,
        NOENT,
        path_filestat_get(ROOT, 1, "work/etc/passwd", BUFFER)
    );
    call!(
        s,
        OK,
        path_filestat_get(ROOT, 1, "work/root/work/f", BUFFER)
    );
    call!(s, OK, path_filestat_get(ROOT, 1, "work/self/f", BUFFER));
    call!(
        s,
        PERM,
        path_filestat_get(ROOT, 1, "work/root/../x", BUFFER)
    );
    // From another directory they lead out of it.
    for link in ["etc", "root", "self"] {
        through(&mut s, 4, link, PERM);
        call!(s, OK, path_filestat_get(4, 0, link, BUFFER));
        call!(s, OK, path_readlink(4, link, BUFFER, 64, OUT));
    }
    s.tell_names(4);
    (s, work())
}

#[tokio::test]
async fn a02_an_absolute_link_leads_nowhere_but_into_the_vms_own_tree() {
    let (script, filesystem) = follows_absolute_links();
    let ran = script.run(&filesystem).await;
    assert_eq!(names(&ran.bytes), ["etc", "f", "root", "self"]);
}

pub(crate) fn follows_links_out() -> Attack {
    let mut s = Script::new();
    call!(s, OK, path_create_directory(ROOT, "work/d"));
    s.file(4, "work/d/f", "");
    s.file(4, "work/secret", "");
    call!(s, OK, path_symlink("..", ROOT, "work/d/up"));
    call!(s, OK, path_symlink("../d/../secret", ROOT, "work/d/round"));
    call!(s, OK, path_symlink("up/up", ROOT, "work/d/chain"));
    s.open(4, "work/d", DIRECTORY, READ);
    through(&mut s, 4, "up", PERM);
    through(&mut s, 4, "chain", PERM);
    call!(s, PERM, path_filestat_get(4, 1, "round", BUFFER));
    // They lead somewhere from where they stay inside.
    call!(
        s,
        OK,
        path_filestat_get(ROOT, 1, "work/d/up/secret", BUFFER)
    );
    call!(s, OK, path_filestat_get(ROOT, 1, "work/d/round", BUFFER));
    (s, work())
}

#[tokio::test]
async fn a02_a_link_that_climbs_out_of_its_directory_is_refused() {
    let (script, filesystem) = follows_links_out();
    script.run(&filesystem).await;
}

#[tokio::test]
async fn a15_loops_and_chains_of_links_end() {
    let mut s = Script::new();
    s.file(4, "work/f", "end");
    call!(s, OK, path_symlink("self", ROOT, "work/self"));
    call!(s, OK, path_symlink("pong", ROOT, "work/ping"));
    call!(s, OK, path_symlink("./ping", ROOT, "work/pong"));
    call!(s, OK, path_symlink("deep/deep", ROOT, "work/deep"));
    for link in ["work/self", "work/ping", "work/deep"] {
        s.open_fails(LOOP, link, 0, READ);
        s.open_fails(LOOP, link, CREATE, BOTH);
        call!(s, LOOP, path_filestat_get(ROOT, 1, link, BUFFER));
        call!(
            s,
            LOOP,
            path_filestat_get(ROOT, 0, &format!("{link}/x"), BUFFER)
        );
        call!(s, OK, path_filestat_get(ROOT, 0, link, BUFFER));
        call!(s, OK, path_readlink(ROOT, link, BUFFER, 2, OUT));
        s.word(OUT, 2);
    }
    for link in 0..41 {
        let target = if link == 0 {
            "f".to_owned()
        } else {
            format!("l{}", link - 1)
        };
        call!(s, OK, path_symlink(&target, ROOT, &format!("work/l{link}")));
    }
    s.holds(4, "work/l39", "end");
    s.open_fails(LOOP, "work/l40", 0, READ);
    s.run(&work()).await;
}

#[tokio::test]
async fn b10_links_and_long_targets_are_counted_and_bounded() {
    let filesystem = limited(6 << 20, 20_000, &[empty("/work")]);
    let before = filesystem.usage();
    let long = "x/".repeat(2_000);
    let mut s = Script::new();
    for name in ["work/a", "work/b", "work/c"] {
        call!(s, OK, path_symlink(&long, ROOT, name));
    }
    call!(
        s,
        NAMETOOLONG,
        path_symlink(&"x/".repeat(2_049), ROOT, "work/e")
    );
    let (at, _) = s.text(b"work/e");
    let huge = [0, 1 << 16, ROOT, at, 6].map(Arg::from);
    s.call(NAMETOOLONG, "path_symlink", &huge);
    call!(s, NOENT, path_symlink("", ROOT, "work/e"));
    s.run(&filesystem).await;
    let targets = filesystem.usage().bytes - before.bytes;
    assert!(targets >= 12_000, "{targets}");
}

#[tokio::test]
async fn b10_a_file_has_no_more_names_than_is_bounded() {
    let filesystem = limited(64 << 20, 100, &[empty("/work")]);
    let mut s = Script::new();
    s.file(4, "work/f", "");
    let (from, _) = s.text(b"work/f");
    let (to, _) = s.text(b"work/l00000");
    // The five digits of the name are the number's.
    s.code(&format!(
        "(loop $again
           (local.set $j (local.get $i))
           (i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.rem_u (local.get $j) (i32.const 10))))
           (i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $j) (i32.const 10)) (i32.const 10))))
           (i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $j) (i32.const 100)) (i32.const 10))))
           (i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $j) (i32.const 1000)) (i32.const 10))))
           (i32.store8 (i32.const {}) (i32.add (i32.const 48) (i32.div_u (local.get $j) (i32.const 10000))))
           (local.set $got (call $path_link
             (i32.const 3) (i32.const 0) (i32.const {from}) (i32.const 6)
             (i32.const 3) (i32.const {to}) (i32.const 11)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.eqz (local.get $got))))
         (if (i32.ne (local.get $i) (i32.const 65000)) (then (call $proc_exit (local.get $i))))",
        to + 10,
        to + 9,
        to + 8,
        to + 7,
        to + 6
    ));
    call!(
        s,
        MLINK,
        path_link(ROOT, 0, "work/f", ROOT, "work/one-more")
    );
    s.run(&filesystem).await;
}
