//! What a descriptor was opened for is what it can do, and nothing changes a read-only mount.

use std::fmt::Write as _;

use agentvm_runtime::vfs::{Access, File, Mount, Source};

use super::script::*;
use crate::harness::functions;

#[tokio::test]
async fn the_rights_asked_for_decide_what_a_file_can_do() {
    let mut s = Script::new();
    s.file(4, "work/f", "hello");
    s.open(4, "work/f", 0, READ);
    s.read(4, 9, "hello");
    s.write_fails(BADF, 4);
    call!(s, BADF, fd_allocate(4, 0, 1));
    call!(s, INVAL, fd_filestat_set_size(4, 0));
    s.open(5, "work/f", 0, WRITE);
    s.write(5, "J");
    let (list, count) = s.list(BUFFER, 1);
    call!(s, BADF, fd_read(5, list, count, OUT));
    call!(s, BADF, fd_pread(5, list, count, 0, OUT));
    s.open(6, "work/f", 0, 0);
    call!(s, BADF, fd_read(6, list, count, OUT));
    s.write_fails(BADF, 6);
    s.open(7, "work/f", 0, BOTH);
    s.read(7, 9, "Jello");
    s.write(7, "!");
    s.run(&work()).await;
}

#[tokio::test]
async fn fdstat_tells_kind_flags_and_rights() {
    let fdstat = |s: &mut Script, fd: i64, kind: i64, flags: i64, has: i64, lacks: i64| {
        s.soil(BUFFER, 24);
        call!(s, OK, fd_fdstat_get(fd, BUFFER));
        s.word(BUFFER, kind | flags << 16);
        s.word(BUFFER + 4, 0);
        s.code(&format!(
            "(if (i64.ne (i64.and (i64.load (i32.const {})) (i64.const {})) (i64.const {has}))
               (then unreachable))",
            BUFFER + 8,
            has | lacks
        ));
    };
    let mut s = Script::new();
    fdstat(&mut s, ROOT, 3, 0, 1 << 13 | 1 << 14, BOTH | 1 << 2);
    call!(
        s,
        OK,
        path_open(ROOT, 1, "work/f", CREATE, BOTH, 0, APPEND | 4, OUT)
    );
    fdstat(&mut s, 4, 4, APPEND | 4, BOTH | 1 << 2, 1 << 13);
    call!(s, OK, fd_fdstat_set_flags(4, 4));
    fdstat(&mut s, 4, 4, 4, BOTH, 0);
    call!(s, INVAL, fd_fdstat_set_flags(4, 32));
    call!(s, NOTCAPABLE, fd_fdstat_set_rights(4, 1 << 13, 0));
    call!(s, NOTCAPABLE, fd_fdstat_set_rights(4, READ, READ));
    call!(s, OK, fd_fdstat_set_rights(4, READ, 0));
    fdstat(&mut s, 4, 4, 4, READ, WRITE);
    s.write_fails(BADF, 4);
    call!(s, NOTCAPABLE, fd_fdstat_set_rights(4, WRITE, 0));
    s.open(5, "work", DIRECTORY, READ);
    fdstat(&mut s, 5, 3, 0, 1 << 14, BOTH);
    fdstat(&mut s, 0, 0, 0, READ, WRITE | 1 << 2);
    fdstat(&mut s, 1, 0, 0, WRITE, READ | 1 << 2);
    s.run(&work()).await;
}

#[tokio::test]
async fn flags_that_do_not_exist_are_refused() {
    let mut s = Script::new();
    s.file(4, "work/f", "");
    call!(s, INVAL, path_open(ROOT, 2, "work/f", 0, READ, 0, 0, OUT));
    call!(s, INVAL, path_open(ROOT, 1, "work/f", 16, READ, 0, 0, OUT));
    call!(s, INVAL, path_open(ROOT, 1, "work/f", 0, READ, 0, 32, OUT));
    call!(
        s,
        INVAL,
        path_open(ROOT, 1, "work/d", CREATE | DIRECTORY, READ, 0, 0, OUT)
    );
    call!(
        s,
        INVAL,
        path_open(ROOT, 1, "work", DIRECTORY | TRUNCATE, READ, 0, 0, OUT)
    );
    call!(s, INVAL, path_filestat_get(ROOT, 2, "work/f", BUFFER));
    call!(s, INVAL, path_link(ROOT, 2, "work/f", ROOT, "work/g"));
    call!(
        s,
        INVAL,
        path_filestat_set_times(ROOT, 1, "work/f", 0, 0, 3)
    );
    call!(
        s,
        INVAL,
        path_filestat_set_times(ROOT, 1, "work/f", 0, 0, 12)
    );
    call!(
        s,
        INVAL,
        path_filestat_set_times(ROOT, 1, "work/f", 0, 0, 16)
    );
    s.open(4, "work/f", 0, BOTH);
    call!(s, INVAL, fd_seek(4, 0, 3, OUT));
    call!(s, INVAL, fd_advise(4, 0, 0, 6));
    call!(s, INVAL, fd_filestat_set_times(4, 0, 0, 3));
    // Writing through is all there is, so that asking for it is granted.
    call!(
        s,
        OK,
        path_open(ROOT, 1, "work/f", 0, READ, 0, 2 | 8 | 16, OUT)
    );
    s.run(&work()).await;
}

#[tokio::test]
async fn a_descriptor_number_or_an_address_that_is_wrong_creates_nothing() {
    let mut s = Script::new();
    call!(s, BADF, path_open(9, 1, "work/f", CREATE, BOTH, 0, 0, OUT));
    call!(
        s,
        NOTDIR,
        path_open(1, 1, "work/f", CREATE, BOTH, 0, 0, OUT)
    );
    call!(
        s,
        FAULT,
        path_open(ROOT, 1, "work/f", CREATE, BOTH, 0, 0, -2)
    );
    let open = [3, 1, -1, 6, CREATE, BOTH, 0, 0, OUT].map(Arg::from);
    s.call(FAULT, "path_open", &open);
    call!(s, NOENT, path_filestat_get(ROOT, 1, "work/f", BUFFER));
    s.file(4, "work/f", "");
    s.open(4, "work/f", 0, READ);
    call!(s, NOTDIR, path_open(4, 1, "x", CREATE, BOTH, 0, 0, OUT));
    call!(s, NOTDIR, path_create_directory(4, "x"));
    call!(s, NOTDIR, path_rename(ROOT, "work/f", 4, "x"));
    call!(s, NOTDIR, path_symlink("t", 4, "x"));
    call!(s, NOTDIR, fd_readdir(4, BUFFER, 64, 0, OUT));
    call!(s, FAULT, path_filestat_get(ROOT, 1, "work/f", -63));
    call!(s, FAULT, fd_readdir(ROOT, -8, 64, 0, OUT));
    call!(s, FAULT, fd_readdir(ROOT, BUFFER, 64, 0, -3));
    let filesystem = work();
    s.run(&filesystem).await;
    assert_eq!(filesystem.usage().inodes, work().usage().inodes + 1);
}

/// Everything that would change something below `dir`: by path, by descriptor 4, which is its
/// file `f`, and by 5, which is itself.
fn changes(s: &mut Script, dir: &str, errno: i32) {
    let path = |name: &str| format!("{dir}/{name}");
    let (file, new) = (path("f"), path("new"));
    for (path, how, rights) in [
        (&new, CREATE | EXCLUSIVE, READ),
        (&new, CREATE, READ),
        (&new, CREATE, WRITE),
        (&file, 0, WRITE),
        (&file, 0, BOTH),
        (&file, TRUNCATE, READ),
        (&file, TRUNCATE, WRITE),
        (&file, CREATE, BOTH),
        (&file, CREATE | TRUNCATE, 0),
    ] {
        call!(
            s,
            errno,
            path_open(ROOT, 1, path, how, rights, 0, APPEND, OUT)
        );
    }
    s.write_fails(errno, 4);
    let (at, len) = s.text(b"x");
    let (list, count) = s.list(at, len);
    call!(s, errno, fd_pwrite(4, list, count, 0, OUT));
    call!(s, errno, fd_filestat_set_size(4, 0));
    call!(s, errno, fd_filestat_set_size(4, 1 << 40));
    call!(s, errno, fd_allocate(4, 0, 100));
    call!(s, errno, fd_filestat_set_times(4, 5, 5, 5));
    call!(s, errno, fd_filestat_set_times(5, 5, 5, 10));
    call!(s, errno, path_filestat_set_times(ROOT, 1, &file, 5, 5, 5));
    call!(s, errno, path_create_directory(ROOT, &new));
    call!(s, errno, path_remove_directory(ROOT, &path("d")));
    call!(s, errno, path_unlink_file(ROOT, &file));
    call!(s, errno, path_rename(ROOT, &file, ROOT, &new));
    call!(s, errno, path_rename(5, "f", 5, "new"));
    call!(s, errno, path_link(ROOT, 0, &file, ROOT, &new));
    call!(s, errno, path_symlink("t", ROOT, &new));
    call!(s, errno, path_symlink("t", 5, "new"));
}

pub(crate) fn changes_what_is_read_only() -> Attack {
    let config = files("/config", &[("f", "hello"), ("d/g", "")]);
    let filesystem = mounted(&[config, empty("/work")]);
    let compare = format!(
        "(loop $again
           (if (i64.ne (i64.load offset={BUFFER} (local.get $i))
                       (i64.load offset={} (local.get $i)))
             (then unreachable))
           (local.set $i (i32.add (local.get $i) (i32.const 8)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 64))))",
        BUFFER + 64
    );
    let mut s = Script::new();
    s.open(4, "config/f", 0, READ);
    s.open(5, "config", DIRECTORY, READ);
    call!(s, OK, path_filestat_get(ROOT, 1, "config/f", BUFFER));
    changes(&mut s, "config", ROFS);
    call!(s, OK, fd_filestat_get(4, BUFFER + 64));
    s.code(&compare);
    s.read(4, 9, "hello");
    call!(s, XDEV, path_rename(ROOT, "config/f", ROOT, "work/f"));
    call!(s, XDEV, path_link(ROOT, 1, "config/f", ROOT, "work/f"));
    (s, filesystem)
}

#[tokio::test]
async fn a08_nothing_whatever_changes_a_read_only_mount() {
    let (script, filesystem) = changes_what_is_read_only();
    let before = filesystem.usage();
    script.run(&filesystem).await;
    let after = filesystem.usage();
    assert_eq!((after.bytes, after.inodes), (before.bytes, before.inodes));
}

#[tokio::test]
async fn a08_an_empty_directory_that_is_read_only_stays_empty() {
    let nothing = Mount {
        access: Access::ReadOnly,
        ..empty("/nothing")
    };
    let mut s = Script::new();
    call!(
        s,
        ROFS,
        path_open(ROOT, 1, "nothing/f", CREATE, BOTH, 0, 0, OUT)
    );
    call!(s, ROFS, path_create_directory(ROOT, "nothing/d"));
    call!(s, ROFS, path_symlink("t", ROOT, "nothing/l"));
    call!(
        s,
        ROFS,
        path_filestat_set_times(ROOT, 1, "nothing", 5, 5, 5)
    );
    s.run(&mounted(&[nothing])).await;
}

#[tokio::test]
async fn a_file_whose_mode_does_not_let_it_be_read_can_only_be_looked_at() {
    let file = |mode| File {
        data: b"secret".as_slice().into(),
        mode,
    };
    let keys = [
        ("open".to_owned(), file(0o400)),
        ("closed".to_owned(), file(0o040)),
    ];
    let secret = Mount {
        source: Source::Files(keys.into()),
        access: Access::ReadOnly,
        path: "/secret".to_owned(),
    };
    let mut s = Script::new();
    s.holds(4, "secret/open", "secret");
    s.open_fails(ACCES, "secret/closed", 0, READ);
    s.open_fails(ROFS, "secret/closed", 0, BOTH);
    call!(s, OK, path_filestat_get(ROOT, 1, "secret/closed", BUFFER));
    s.long(BUFFER + 32, 6);
    s.open(4, "secret/closed", 0, 0);
    let (list, count) = s.list(BUFFER, 8);
    call!(s, BADF, fd_read(4, list, count, OUT));
    call!(s, NOTCAPABLE, fd_fdstat_set_rights(4, READ, 0));
    s.run(&mounted(&[secret])).await;
}

/// Turns memory of random bytes into one of names, dots and slashes.
const LETTERS: &str = "
    (local.set $j (i32.const 0))
    (loop $letter
      (i32.store8 (local.get $j)
        (i32.load8_u offset=65536 (i32.and (i32.load8_u (local.get $j)) (i32.const 15))))
      (local.set $j (i32.add (local.get $j) (i32.const 1)))
      (br_if $letter (i32.lt_u (local.get $j) (i32.const 4096))))";

#[tokio::test]
async fn no_random_call_on_files_traps_fails_the_host_or_exceeds_the_budget() {
    for (name, types) in functions() {
        if !name.starts_with("fd_") && !name.starts_with("path_") {
            continue;
        }
        let mut s = Script::new();
        s.text(b"ab./.a\0/l//dd..f");
        s.file(4, "work/f", "hello");
        s.open(4, "work/f", 0, BOTH);
        s.open(5, "work", DIRECTORY, READ);
        call!(s, OK, path_symlink("..", ROOT, "work/l"));
        call!(s, OK, path_create_directory(ROOT, "work/d"));
        call!(s, OK, fd_fdstat_set_flags(0, 4));
        s.code(&format!(
            "(loop $again
               (drop (call $random_get (i32.const 0) (i32.const 65536))) {LETTERS}
               (drop (call $random_get (i32.const 0) (i32.const 256)))
               {}
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $i) (i32.const 200))))",
            at_random(name, &types)
        ));
        let filesystem = limited(100_000, 50, &[empty("/work")]);
        let ran = s.guest(&filesystem).run().await;
        s.check(&ran);
        let usage = filesystem.usage();
        assert!(
            usage.peak_bytes <= 100_000 && usage.inodes <= 50,
            "{name}: {usage:?}"
        );
    }
}

/// Calls `name` with small random descriptors, lengths and flags, and addresses anywhere.
fn at_random(name: &str, types: &[&str]) -> String {
    let mut call = format!("(drop (call ${name}");
    for (index, ty) in (0..).zip(types) {
        let word = format!("({ty}.load (i32.const {}))", index * 8);
        let small = format!("({ty}.and {word} ({ty}.const 7))");
        let medium = format!("({ty}.and {word} ({ty}.const 0xffff))");
        let coin = |bit: i32| {
            format!(
                "(i32.and (i32.load8_u (i32.const {})) (i32.const {bit}))",
                200 + index
            )
        };
        let number = format!("(select {small} {medium} {})", coin(1));
        write!(call, " (select {word} {number} (i32.eqz {}))", coin(14)).unwrap();
    }
    call + "))"
}
