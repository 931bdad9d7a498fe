//! The table of descriptors: numbers given out, moved, closed and run out of.

use std::time::Duration;

use super::script::*;

#[tokio::test]
async fn the_lowest_free_number_is_given_out() {
    let mut s = Script::new();
    s.open(4, "work/a", CREATE, BOTH);
    s.open(5, "work/b", CREATE, BOTH);
    s.open(6, "work", DIRECTORY, READ);
    call!(s, OK, fd_close(4));
    call!(s, OK, fd_close(0));
    s.open(0, "work/a", 0, READ);
    s.open(4, "work/a", 0, READ);
    s.open(7, "work/a", 0, READ);
    call!(s, OK, fd_close(5));
    call!(s, BADF, fd_close(5));
    call!(s, BADF, fd_fdstat_get(5, BUFFER));
    s.run(&work()).await;
}

#[tokio::test]
async fn a18_renumbering_moves_closes_and_never_makes_up_a_number() {
    let mut s = Script::new();
    s.open(4, "work/a", CREATE, BOTH);
    s.write(4, "a");
    s.open(5, "work/b", CREATE, BOTH);
    call!(s, OK, fd_renumber(4, 5));
    s.write(5, "a");
    call!(s, BADF, fd_renumber(4, 5));
    call!(s, BADF, fd_renumber(5, 4));
    call!(s, OK, fd_renumber(5, 5));
    for number in [6, 7, 1 << 20, i64::from(i32::MAX), i64::from(i32::MIN), -1] {
        call!(s, BADF, fd_renumber(5, number));
        call!(s, BADF, fd_renumber(number, 5));
        call!(s, BADF, fd_close(number));
        call!(s, BADF, fd_readdir(number, BUFFER, 64, 0, OUT));
        call!(s, BADF, path_create_directory(number, "d"));
    }
    s.holds(4, "work/a", "aa");
    s.holds(4, "work/b", "");
    s.run(&work()).await;
}

#[tokio::test]
async fn a18_a_file_over_stdout_takes_what_is_printed() {
    let mut s = Script::new();
    s.open(4, "work/log", CREATE, BOTH);
    call!(s, OK, fd_renumber(4, 1));
    s.write(1, "to the file");
    s.holds(4, "work/log", "to the file");
    let ran = s.run(&work()).await;
    assert_eq!(ran.stdout, "");
}

#[tokio::test]
async fn a18_the_root_can_be_closed_or_replaced_and_is_then_gone() {
    let mut s = Script::new();
    s.open(4, "work", DIRECTORY, READ);
    call!(s, OK, fd_close(ROOT));
    call!(
        s,
        BADF,
        path_open(ROOT, 1, "work/f", CREATE, BOTH, 0, 0, OUT)
    );
    call!(s, BADF, fd_prestat_get(ROOT, BUFFER));
    call!(
        s,
        PERM,
        path_open(4, 1, "../work/f", CREATE, BOTH, 0, 0, OUT)
    );
    call!(s, OK, path_open(4, 1, "f", CREATE, BOTH, 0, 0, OUT));
    s.word(OUT, ROOT);
    s.run(&work()).await;

    let mut s = Script::new();
    call!(s, OK, path_create_directory(ROOT, "work/d"));
    s.open(4, "work/d", DIRECTORY, READ);
    call!(s, OK, fd_renumber(4, ROOT));
    call!(s, BADF, fd_prestat_get(ROOT, BUFFER));
    call!(s, PERM, path_filestat_get(ROOT, 1, "..", BUFFER));
    call!(s, OK, path_create_directory(ROOT, "e"));
    s.run(&work()).await;

    let mut s = Script::new();
    s.open(4, "work", DIRECTORY, READ);
    call!(s, OK, fd_renumber(ROOT, 4));
    call!(s, OK, fd_prestat_get(4, BUFFER));
    call!(s, OK, path_filestat_get(4, 1, "work", BUFFER));
    s.run(&work()).await;
}

#[tokio::test]
async fn a18_a_million_renumbers_and_closes_leave_nothing_behind() {
    let filesystem = work();
    let before = filesystem.usage();
    let mut s = Script::new();
    let (path, len) = s.text(b"work/f");
    let open = format!(
        "(if (call $path_open (i32.const 3) (i32.const 1) (i32.const {path}) (i32.const {len})
               (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const {OUT}))
           (then unreachable))"
    );
    s.code(&format!(
        "(loop $again
           {open} {open}
           (if (call $fd_renumber (i32.const 5) (i32.const 4)) (then unreachable))
           (if (call $fd_close (i32.const 4)) (then unreachable))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 250000))))"
    ));
    call!(s, OK, path_unlink_file(ROOT, "work/f"));
    let ran = s.guest(&filesystem).run().await;
    s.check(&ran);
    let after = filesystem.usage();
    assert_eq!((after.bytes, after.inodes), (before.bytes, before.inodes));
    assert!(ran.wall < Duration::from_secs(30), "{:?}", ran.wall);
}

/// Opens a file again and again, and exits with the first error.
pub(crate) fn opens_files_until_refused() -> Script {
    let mut s = Script::new();
    let (path, len) = s.text(b"work/f");
    s.code(&format!(
        "(loop $again
           (local.set $got (call $path_open
             (i32.const 3) (i32.const 1) (i32.const {path}) (i32.const {len})
             (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const {OUT})))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.and
             (i32.eqz (local.get $got)) (i32.lt_u (local.get $i) (i32.const 5000)))))
         (call $proc_exit (i32.or (local.get $got) (i32.shl (local.get $i) (i32.const 8))))"
    ));
    s
}

#[tokio::test]
async fn d12_no_more_files_are_open_than_is_allowed() {
    for most in [8, 128] {
        let guest = opens_files_until_refused().guest(&work());
        let code = guest
            .limits(|limits| limits.open_files = most)
            .exit_code()
            .await;
        assert_eq!(code & 0xff, MFILE);
        assert_eq!(code >> 8, i32::try_from(most).unwrap() + 1);
    }
}

#[tokio::test]
async fn closing_a_file_gives_its_memory_back() {
    // Opens and closes the same file 2,000 times, which is more than the host may hold at once.
    let mut s = Script::new();
    let (path, len) = s.text(b"work/f");
    s.code(&format!(
        "(loop $again
           (local.set $got (call $path_open
             (i32.const 3) (i32.const 1) (i32.const {path}) (i32.const {len})
             (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const {OUT})))
           (if (local.get $got) (then (call $proc_exit (local.get $got))))
           (drop (call $fd_close (i32.load (i32.const {OUT}))))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 2000))))
         (call $proc_exit (i32.const 0))"
    ));
    let guest = s.guest(&work());
    let ran = guest
        .limits(|limits| limits.memory_bytes = 2 * 65_536)
        .run();
    assert_eq!(ran.await.ending.exit_code, Some(0));
}

#[tokio::test]
async fn d12_where_no_more_can_be_open_no_file_is_made() {
    let filesystem = work();
    let before = filesystem.usage();
    let mut s = Script::new();
    call!(
        s,
        MFILE,
        path_open(ROOT, 1, "work/f", CREATE, BOTH, 0, 0, OUT)
    );
    let guest = s.guest(&filesystem).limits(|limits| limits.open_files = 0);
    s.check(&guest.run().await);
    assert_eq!(filesystem.usage().inodes, before.inodes);
}

#[tokio::test]
async fn files_are_always_ready_and_say_how_much_there_is() {
    let subscribe = |s: &mut Script, index: i64, tag: i64, fd: i64| {
        let at = 512 + index * 48;
        s.code(&format!(
            "(i64.store (i32.const {at}) (i64.const {}))
             (i32.store8 (i32.const {}) (i32.const {tag}))
             (i32.store (i32.const {}) (i32.const {fd}))",
            70 + index,
            at + 8,
            at + 16
        ));
    };
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.write(4, "hello");
    call!(s, OK, fd_seek(4, 2, 0, OUT));
    subscribe(&mut s, 0, 1, 4);
    subscribe(&mut s, 1, 2, 4);
    subscribe(&mut s, 2, 1, ROOT);
    subscribe(&mut s, 3, 1, 9);
    subscribe(&mut s, 4, 1, 0);
    s.soil(BUFFER, 256);
    call!(s, OK, poll_oneoff(512, BUFFER, 5, OUT));
    s.word(OUT, 4);
    for (index, errno, tag) in [(0, OK, 1), (1, OK, 2), (2, OK, 1), (3, BADF, 1)] {
        s.long(BUFFER + index * 32, 70 + index);
        s.word(BUFFER + index * 32 + 8, i64::from(errno) | tag << 16);
    }
    s.long(BUFFER + 16, 3);
    s.run(&work()).await;
}
