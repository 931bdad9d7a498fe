//! What the budget holds back, whichever way a guest tries to go around it.

use agentvm_runtime::vfs::{Mount, Source};

use super::script::*;

pub(crate) fn makes_huge_files() -> Attack {
    let filesystem = limited(1 << 20, 100, &[empty("/work")]);
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    for size in [1 << 40, (1 << 20) + 1, i64::MAX] {
        call!(s, FBIG, fd_filestat_set_size(4, size));
        call!(s, FBIG, fd_allocate(4, 0, size));
        call!(s, OK, fd_seek(4, size, 0, OUT));
        s.write_fails(FBIG, 4);
    }
    call!(s, OK, fd_filestat_get(4, BUFFER));
    s.long(BUFFER + 32, 0);
    call!(s, OK, fd_filestat_set_size(4, 1 << 20));
    call!(s, NOSPC, fd_allocate(4, 0, 1 << 20));
    (s, filesystem)
}

#[tokio::test]
async fn b01_a_file_is_never_larger_than_its_volume() {
    let (script, filesystem) = makes_huge_files();
    script.run(&filesystem).await;
    assert!(filesystem.usage().bytes < 4_096);
}

/// Writes 64 KiB after another until it can't, and exits with the error and the number.
pub(crate) fn writes_until_refused(path: &str) -> Script {
    let mut s = Script::new();
    s.open(4, path, CREATE, BOTH);
    s.code(
        "(i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 65536))
         (loop $again
           (local.set $got (call $fd_write (i32.const 4) (i32.const 64) (i32.const 1) (i32.const 8)))
           (local.set $i (i32.add (local.get $i) (i32.load (i32.const 8))))
           (br_if $again (i32.eqz (local.get $got))))
         (call $proc_exit (i32.or (local.get $got) (i32.shl (local.get $i) (i32.const 8))))",
    );
    s
}

#[tokio::test]
async fn b01_what_is_written_to_many_files_ends_there_too() {
    for attack in [fills_all_bytes, fills_a_mount] {
        let (script, filesystem) = attack();
        script.run(&filesystem).await;
        assert!(filesystem.usage().peak_bytes <= 1 << 20);
    }
}

#[tokio::test]
async fn b01_bytes_end_at_the_budget_or_at_the_mounts_own_limit() {
    let filesystem = limited(1 << 20, 100, &[empty("/work"), small()]);
    let code = writes_until_refused("small/f")
        .guest(&filesystem)
        .exit_code()
        .await;
    assert_eq!(code & 0xff, DQUOT);
    assert!(code >> 8 <= 100_000, "{}", code >> 8);
    let code = writes_until_refused("work/f")
        .guest(&filesystem)
        .exit_code()
        .await;
    assert_eq!(code & 0xff, NOSPC);
    let usage = filesystem.usage();
    assert!(usage.peak_bytes <= 1 << 20, "{}", usage.peak_bytes);
    assert!(usage.bytes > 900_000, "{}", usage.bytes);
    assert_eq!(usage.refused_by_quota, 2);
}

/// Makes so many directories, or as many as can be.
fn makes_directories(count: u32) -> Script {
    let mut s = Script::new();
    let (name, _) = s.text(b"work/0000");
    let digit = |place: i64, by: u32| {
        format!(
            "(i32.store8 (i32.const {}) (i32.add (i32.const 65)
               (i32.rem_u (i32.div_u (local.get $i) (i32.const {by})) (i32.const 26))))",
            name + 5 + place
        )
    };
    s.code(&format!(
        "(loop $again {} {} {} {}
           (local.set $j (call $path_create_directory
             (i32.const 3) (i32.const {name}) (i32.const 9)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.and
             (i32.eqz (local.get $j)) (i32.lt_u (local.get $i) (i32.const {count})))))",
        digit(0, 1),
        digit(1, 26),
        digit(2, 676),
        digit(3, 17_576)
    ));
    s
}

#[tokio::test]
async fn b02_inodes_end_at_the_budget() {
    let (script, filesystem) = fills_all_inodes();
    script.run(&filesystem).await;
    assert_eq!(filesystem.usage().inodes, 5_000);
    // Bytes are the other end: directories are not free.
    let filesystem = limited(100_000, 100_000, &[empty("/work")]);
    let mut s = makes_directories(6_000);
    s.step("the last of them is refused", "(local.get $j)", NOSPC);
    s.run(&filesystem).await;
    assert!(filesystem.usage().inodes < 700);
}

/// Writes more than the VM's budget.
pub(crate) fn fills_all_bytes() -> Attack {
    fills("work", NOSPC)
}

/// Writes more than the mount takes.
pub(crate) fn fills_a_mount() -> Attack {
    fills("small", DQUOT)
}

fn fills(dir: &str, errno: i32) -> Attack {
    let mut s = Script::new();
    for fd in 4..24 {
        s.open(fd, &format!("{dir}/f{fd}"), CREATE, WRITE);
    }
    s.code(
        "(i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 65536))
         (loop $again
           (local.set $j (call $fd_write (i32.add (i32.const 4) (local.get $i))
             (i32.const 64) (i32.const 1) (i32.const 8)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 20))))",
    );
    s.step(
        "the last of these writes is refused",
        "(local.get $j)",
        errno,
    );
    (s, limited(1 << 20, 100, &[empty("/work"), small()]))
}

fn small() -> Mount {
    Mount {
        source: Source::Empty {
            max_bytes: Some(100_000),
        },
        ..empty("/small")
    }
}

/// Makes more directories than the budget has inodes.
pub(crate) fn fills_all_inodes() -> Attack {
    let mut s = makes_directories(6_000);
    s.step("the last of them is refused", "(local.get $j)", NOSPC);
    (s, limited(64 << 20, 5_000, &[empty("/work")]))
}

#[tokio::test]
async fn b02_making_and_removing_names_leaves_nothing() {
    let filesystem = work();
    let before = filesystem.usage();
    let mut s = Script::new();
    let (name, _) = s.text(b"work/d");
    s.code(&format!(
        "(loop $again
           (if (call $path_create_directory (i32.const 3) (i32.const {name}) (i32.const 6))
             (then unreachable))
           (if (call $path_remove_directory (i32.const 3) (i32.const {name}) (i32.const 6))
             (then unreachable))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 50000))))"
    ));
    s.run(&filesystem).await;
    let after = filesystem.usage();
    assert_eq!((after.bytes, after.inodes), (before.bytes, before.inodes));
}

#[tokio::test]
async fn b05_appending_through_many_descriptors_never_exceeds_the_budget() {
    let filesystem = limited(1 << 20, 100, &[empty("/work")]);
    let mut s = Script::new();
    for fd in 4..12 {
        call!(
            s,
            OK,
            path_open(ROOT, 1, "work/f", CREATE, BOTH, 0, APPEND, OUT)
        );
        s.word(OUT, fd);
    }
    s.code(
        "(i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 4096))
         (block $end (loop $again
           (local.set $j (i32.add (i32.const 4) (i32.and (local.get $i) (i32.const 7))))
           (br_if $end (i32.eq (i32.const 51)
             (call $fd_write (local.get $j) (i32.const 64) (i32.const 1) (i32.const 8))))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 100000)))))
         (if (i32.lt_u (local.get $i) (i32.const 200)) (then unreachable))",
    );
    s.run(&filesystem).await;
    assert!(filesystem.usage().peak_bytes <= 1 << 20);
}

#[tokio::test]
async fn a_write_that_fits_in_part_is_a_short_one_and_the_next_is_refused() {
    let filesystem = limited(256 << 10, 100, &[empty("/work")]);
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.code(
        "(i32.store (i32.const 64) (i32.const 0)) (i32.store (i32.const 68) (i32.const 131072))
         (i32.store (i32.const 72) (i32.const 0)) (i32.store (i32.const 76) (i32.const 131072))
         (i32.store (i32.const 80) (i32.const 0)) (i32.store (i32.const 84) (i32.const 131072))",
    );
    call!(s, OK, fd_write(4, 64, 3, OUT));
    s.code(&format!(
        "(local.set $i (i32.load (i32.const {OUT})))
         (if (i32.lt_u (local.get $i) (i32.const 200000)) (then unreachable))
         (if (i32.gt_u (local.get $i) (i32.const 262144)) (then unreachable))"
    ));
    call!(s, NOSPC, fd_write(4, 64, 3, OUT));
    call!(s, OK, fd_tell(4, OUT));
    s.code(&format!(
        "(if (i32.ne (local.get $i) (i32.load (i32.const {OUT}))) (then unreachable))"
    ));
    s.run(&filesystem).await;
}
