//! What is told of files, and their times.

use super::script::*;

#[tokio::test]
async fn stat_tells_the_same_by_path_and_by_descriptor() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.write(4, "hello");
    s.soil(BUFFER, 256);
    call!(s, OK, path_filestat_get(ROOT, 1, "work/f", BUFFER));
    call!(s, OK, fd_filestat_get(4, BUFFER + 64));
    for field in 0..8 {
        s.code(&format!(
            "(if (i64.ne (i64.load (i32.const {})) (i64.load (i32.const {}))) (then unreachable))",
            BUFFER + field * 8,
            BUFFER + 64 + field * 8
        ));
    }
    s.long(BUFFER + 16, 4);
    s.long(BUFFER + 24, 1);
    s.long(BUFFER + 32, 5);
    call!(s, OK, path_filestat_get(ROOT, 1, "work", BUFFER));
    s.long(BUFFER + 16, 3);
    call!(s, OK, fd_filestat_get(1, BUFFER));
    for (field, value) in [
        (0, 0),
        (1, 0),
        (2, 0),
        (3, 1),
        (4, 0),
        (5, 0),
        (6, 0),
        (7, 0),
    ] {
        s.long(BUFFER + field * 8, value);
    }
    s.run(&work()).await;
}

#[tokio::test]
async fn times_are_set_to_the_nanosecond_kept_or_now() {
    const AT: i64 = 40;
    const MT: i64 = 48;
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    call!(s, OK, fd_filestat_set_times(4, 1_234_567_891, -1, 1 | 4));
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + AT, 1_234_567_891);
    s.long(BUFFER + MT, -1);
    call!(s, OK, path_filestat_set_times(ROOT, 1, "work/f", 0, 7, 4));
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + AT, 1_234_567_891);
    s.long(BUFFER + MT, 7);
    // Now is the guest's own clock.
    call!(s, OK, clock_time_get(0, 0, BUFFER + 128));
    call!(s, OK, fd_filestat_set_times(4, 5, 5, 8));
    call!(s, OK, fd_filestat_get(4, BUFFER));
    call!(s, OK, clock_time_get(0, 0, BUFFER + 136));
    s.long(BUFFER + AT, 1_234_567_891);
    for (less, more) in [(128, MT), (MT, 136)] {
        s.code(&format!(
            "(if (i64.gt_u (i64.load (i32.const {})) (i64.load (i32.const {}))) (then unreachable))",
            BUFFER + less,
            BUFFER + more
        ));
    }
    // A link's own times, and its target's.
    call!(s, OK, path_symlink("f", ROOT, "work/l"));
    call!(s, OK, path_filestat_set_times(ROOT, 0, "work/l", 3, 3, 5));
    call!(s, OK, path_filestat_get(ROOT, 0, "work/l", BUFFER));
    s.long(BUFFER + MT, 3);
    call!(s, OK, path_filestat_set_times(ROOT, 1, "work/l", 9, 9, 5));
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + MT, 9);
    s.run(&work()).await;
}
