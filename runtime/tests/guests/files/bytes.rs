//! Reading and writing files, wherever and however much.

use super::script::*;

#[tokio::test]
async fn a_position_moves_with_reads_and_writes_and_is_one_for_both() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.write(4, "abcdef");
    s.read(4, 9, "");
    call!(s, OK, fd_seek(4, 1, 0, OUT));
    s.read(4, 2, "bc");
    s.write(4, "D");
    call!(s, OK, fd_tell(4, OUT));
    s.long(OUT, 4);
    call!(s, OK, fd_seek(4, -2, 2, OUT));
    s.long(OUT, 4);
    s.read(4, 9, "ef");
    call!(s, OK, fd_seek(4, 0, 0, OUT));
    s.read(4, 9, "abcDef");
    s.run(&work()).await;
}

#[tokio::test]
async fn a_position_is_never_negative_nor_too_large() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.write(4, "abc");
    for (delta, whence) in [
        (-1, 0),
        (-4, 1),
        (-4, 2),
        (i64::MAX, 1),
        (i64::MAX, 2),
        (i64::MIN, 0),
    ] {
        call!(s, INVAL, fd_seek(4, delta, whence, OUT));
    }
    call!(s, OK, fd_tell(4, OUT));
    s.long(OUT, 3);
    call!(s, OK, fd_seek(4, i64::MAX, 0, OUT));
    s.read(4, 9, "");
    s.write_fails(FBIG, 4);
    call!(s, BADF, fd_seek(ROOT, 0, 0, OUT));
    call!(s, BADF, fd_tell(ROOT, OUT));
    call!(s, BADF, fd_advise(ROOT, 0, 0, 0));
    s.run(&work()).await;
}

#[tokio::test]
async fn reads_and_writes_elsewhere_leave_the_position() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.write(4, "abcdef");
    let (at, len) = s.text(b"XY");
    let (list, count) = s.list(at, len);
    call!(s, OK, fd_pwrite(4, list, count, 1, OUT));
    s.word(OUT, 2);
    let (list, count) = s.list(BUFFER, 3);
    call!(s, OK, fd_pread(4, list, count, 2, OUT));
    s.word(OUT, 3);
    s.bytes(BUFFER, b"Yde");
    call!(s, OK, fd_pread(4, list, count, 6, OUT));
    s.word(OUT, 0);
    call!(s, INVAL, fd_pread(4, list, count, -1, OUT));
    call!(s, INVAL, fd_pwrite(4, list, count, i64::MIN, OUT));
    call!(s, OK, fd_tell(4, OUT));
    s.long(OUT, 6);
    s.run(&work()).await;
}

#[tokio::test]
async fn what_is_appended_lands_at_the_end_whoever_wrote_before() {
    let mut s = Script::new();
    call!(
        s,
        OK,
        path_open(ROOT, 1, "work/f", CREATE, BOTH, 0, APPEND, OUT)
    );
    call!(s, OK, path_open(ROOT, 1, "work/f", 0, BOTH, 0, APPEND, OUT));
    s.write(4, "ab");
    s.write(5, "cd");
    call!(s, OK, fd_seek(4, 0, 0, OUT));
    s.write(4, "ef");
    call!(s, OK, fd_tell(4, OUT));
    s.long(OUT, 6);
    let (at, len) = s.text(b"gh");
    let (list, count) = s.list(at, len);
    call!(s, OK, fd_pwrite(5, list, count, 0, OUT));
    call!(s, OK, fd_fdstat_set_flags(4, 0));
    call!(s, OK, fd_seek(4, 0, 0, OUT));
    s.write(4, "A");
    s.holds(6, "work/f", "Abcdefgh");
    s.run(&work()).await;
}

#[tokio::test]
async fn buffers_are_filled_and_emptied_in_order() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    let (at, _) = s.text(b"abcdefghij");
    let buffers = |s: &mut Script, buffers: &[(i64, i64)]| {
        for (index, (at, len)) in (0..).zip(buffers) {
            s.code(&format!(
                "(i32.store (i32.const {}) (i32.const {at}))
                 (i32.store (i32.const {}) (i32.const {len}))",
                512 + index * 8,
                516 + index * 8
            ));
        }
    };
    buffers(&mut s, &[(at + 5, 3), (0, 0), (at, 2), (at + 9, 1)]);
    call!(s, OK, fd_write(4, 512, 4, OUT));
    s.word(OUT, 6);
    call!(s, OK, fd_seek(4, 0, 0, OUT));
    buffers(
        &mut s,
        &[(BUFFER, 1), (BUFFER + 100, 2), (BUFFER + 200, 50)],
    );
    call!(s, OK, fd_read(4, 512, 3, OUT));
    s.word(OUT, 6);
    s.bytes(BUFFER, b"f");
    s.bytes(BUFFER + 100, b"gh");
    s.bytes(BUFFER + 200, b"abj");
    // A buffer outside of memory is a fault before anything is moved.
    buffers(&mut s, &[(at, 2), (-4, 8)]);
    call!(s, FAULT, fd_write(4, 512, 2, OUT));
    call!(s, FAULT, fd_write(4, -4, 1, OUT));
    call!(s, FAULT, fd_write(4, 512, 1, -2));
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + 32, 6);
    s.run(&work()).await;
}

#[tokio::test]
async fn a_hole_reads_as_zeros_and_a_file_is_cut_and_extended() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    call!(s, OK, fd_seek(4, 100_000, 0, OUT));
    s.write(4, "end");
    call!(s, OK, fd_seek(4, 99_998, 0, OUT));
    s.read(4, 9, "\0\0end");
    call!(s, OK, fd_filestat_set_size(4, 100_001));
    call!(s, OK, fd_filestat_set_size(4, 100_003));
    call!(s, OK, fd_seek(4, 100_000, 0, OUT));
    s.read(4, 9, "e\0\0");
    call!(s, OK, fd_allocate(4, 100_000, 10));
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + 32, 100_010);
    call!(s, INVAL, fd_allocate(4, 0, 0));
    call!(s, INVAL, fd_allocate(4, -1, 1));
    call!(s, INVAL, fd_filestat_set_size(4, -1));
    call!(s, OK, fd_advise(4, 0, 0, 5));
    call!(s, INVAL, fd_advise(4, -1, 0, 0));
    call!(s, OK, fd_sync(4));
    call!(s, OK, fd_datasync(4));
    call!(s, OK, fd_sync(ROOT));
    call!(s, BADF, fd_sync(77));
    s.run(&work()).await;
}

#[tokio::test]
async fn a_file_that_has_no_name_any_more_lives_until_it_is_closed() {
    let filesystem = work();
    let before = filesystem.usage();
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.write(4, "still here");
    call!(s, OK, path_unlink_file(ROOT, "work/f"));
    call!(s, NOENT, path_filestat_get(ROOT, 1, "work/f", BUFFER));
    s.file(5, "work/f", "another");
    call!(s, OK, fd_seek(4, 0, 0, OUT));
    s.read(4, 20, "still here");
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + 24, 0);
    call!(s, OK, fd_close(4));
    s.holds(4, "work/f", "another");
    call!(s, OK, path_unlink_file(ROOT, "work/f"));
    s.run(&filesystem).await;
    let after = filesystem.usage();
    assert_eq!((after.bytes, after.inodes), (before.bytes, before.inodes));
    assert!(after.peak_bytes > before.bytes);
}

#[tokio::test]
async fn a_directory_is_not_read_or_written_as_a_file() {
    let mut s = Script::new();
    s.open(4, "work", DIRECTORY, READ);
    let (list, count) = s.list(BUFFER, 8);
    call!(s, ISDIR, fd_read(4, list, count, OUT));
    call!(s, ISDIR, fd_pread(4, list, count, 0, OUT));
    call!(s, BADF, fd_write(4, list, count, OUT));
    call!(s, INVAL, fd_filestat_set_size(4, 0));
    call!(s, BADF, fd_allocate(4, 0, 1));
    s.open_fails(ISDIR, "work", 0, WRITE);
    s.open_fails(ISDIR, "work", 0, BOTH);
    s.run(&work()).await;
}

#[tokio::test]
async fn d06_whatever_a_guest_asks_for_the_host_holds_nothing_for_it() {
    let mut s = Script::new();
    s.file(4, "work/f", "x");
    s.open(4, "work/f", 0, BOTH);
    // 1,024 buffers, all of them the whole memory, then a count that is no such list.
    s.code(
        "(loop $again
           (i32.store offset=8192 (i32.mul (local.get $i) (i32.const 8)) (i32.const 0))
           (i32.store offset=8196 (i32.mul (local.get $i) (i32.const 8)) (i32.const 131072))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 1024))))",
    );
    call!(s, OK, fd_pread(4, 8_192, 1_024, 0, 32));
    s.word(32, 1);
    call!(s, INVAL, fd_pread(4, 8_192, 1_024, -1, 32));
    call!(s, FAULT, fd_read(4, 131_064, -1, 32));
    call!(s, OK, fd_pread(4, 8_192, 1_024, i64::MAX, 32));
    s.word(32, 0);
    let (list, count) = s.list(0, -1);
    call!(s, FAULT, fd_read(4, list, count, OUT));
    call!(s, FAULT, fd_readdir(ROOT, 0, -1, 0, OUT));
    call!(s, OK, path_symlink("f", ROOT, "work/l"));
    call!(s, FAULT, path_readlink(ROOT, "work/l", -1, 9, OUT));
    call!(s, OK, path_readlink(ROOT, "work/l", 0, -1, OUT));
    s.word(OUT, 1);
    s.run(&work()).await;
}
