//! Listing directories: the layout, cookies, and buffers of any size.

use std::fmt::Write as _;

use super::script::*;

#[tokio::test]
async fn a_listing_has_every_entry_with_its_kind_and_number_once() {
    let mut s = Script::new();
    s.file(4, "work/file", "");
    call!(s, OK, path_create_directory(ROOT, "work/directory"));
    call!(s, OK, path_symlink("file", ROOT, "work/link"));
    s.open(4, "work", DIRECTORY, READ);
    call!(s, OK, path_filestat_get(ROOT, 1, "work/file", BUFFER));
    s.tell(BUFFER, "(i32.const 64)");
    s.soil(BUFFER, 1_000);
    s.tell_names(4);
    let ran = s.run(&work()).await;
    let (stat, entries) = ran.bytes.split_at(64);
    let entries = listed(entries);
    assert_eq!(entries[0].name, ".");
    assert_eq!(entries[1].name, "..");
    let mut kinds: Vec<_> = entries[2..]
        .iter()
        .map(|e| (e.name.as_str(), e.kind))
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [("directory", 3), ("file", 4), ("link", 7)]);
    let file = entries.iter().find(|entry| entry.name == "file").unwrap();
    assert_eq!(file.inode.to_le_bytes(), stat[8..16]);
    assert!(entries.iter().all(|entry| entry.padding == [0; 3]));
    assert!(
        entries
            .iter()
            .all(|entry| entry.kind == 3 || entry.name.len() > 2)
    );
}

/// Lists a directory through a buffer of `room` bytes, going on after the last whole entry,
/// and doubling the buffer where not even one fits; tells the number of calls, then the names.
fn lists_in_steps(room: u32, calls: u32) -> String {
    // $i the cookie's address (40), $j the place in the buffer, $got the bytes used.
    format!(
        "(i32.store (i32.const 32) (i32.const {room}))
         (block $end (loop $more
           (i32.store (i32.const 36) (i32.add (i32.load (i32.const 36)) (i32.const 1)))
           (if (i32.gt_u (i32.load (i32.const 36)) (i32.const {calls})) (then unreachable))
           (if (call $fd_readdir (i32.const 4) (i32.const 8192) (i32.load (i32.const 32))
                 (i64.load (i32.const 40)) (i32.const 48))
             (then unreachable))
           (local.set $got (i32.load (i32.const 48)))
           (local.set $j (i32.const 0))
           (block $cut (loop $entry
             (br_if $cut (i32.gt_u (i32.add (local.get $j) (i32.const 24)) (local.get $got)))
             (local.set $i (i32.add (local.get $j)
               (i32.add (i32.const 24) (i32.load offset=8208 (local.get $j)))))
             (br_if $cut (i32.gt_u (local.get $i) (local.get $got)))
             (i64.store (i32.const 40) (i64.load offset=8192 (local.get $j)))
             (i32.store (i32.const 64) (i32.add (i32.const 8192) (local.get $j)))
             (i32.store (i32.const 68) (i32.sub (local.get $i) (local.get $j)))
             (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 16)))
             (local.set $j (local.get $i))
             (br $entry)))
           (br_if $end (i32.lt_u (local.get $got) (i32.load (i32.const 32))))
           (if (i32.eqz (local.get $j))
             (then (i32.store (i32.const 32)
               (i32.add (i32.const 24) (i32.mul (i32.const 2) (i32.load (i32.const 32)))))))
           (br $more)))"
    )
}

#[tokio::test]
async fn a20_buffers_of_any_size_list_everything_once_and_come_to_an_end() {
    let mut expected: Vec<String> = (0..300).map(|n| format!("file-{n:03}")).collect();
    expected.push("x".repeat(255));
    expected.sort();
    for room in [0, 1, 23, 24, 25, 32, 33, 279, 4_096, 50_000] {
        let mut s = Script::new();
        for name in &expected {
            s.file(4, &format!("work/{name}"), "");
        }
        s.open(4, "work", DIRECTORY, READ);
        s.code(&lists_in_steps(room, 1_000));
        let ran = s.run(&work()).await;
        assert_eq!(names(&ran.bytes), expected, "{room}");
        assert_eq!(listed(&ran.bytes).len(), expected.len() + 2, "{room}");
    }
}

#[tokio::test]
async fn a20_a_cookie_that_was_never_given_is_harmless() {
    let mut s = Script::new();
    s.file(4, "work/f", "");
    s.open(4, "work", DIRECTORY, READ);
    for cookie in [-1, i64::MAX, i64::MIN, 1 << 32, 77_777, 3, 2] {
        call!(s, OK, fd_readdir(4, BUFFER, 4_096, cookie, OUT));
        s.code(&format!(
            "(if (i32.gt_u (i32.load (i32.const {OUT})) (i32.const 25)) (then unreachable))"
        ));
    }
    s.run(&work()).await;
}

#[tokio::test]
async fn a20_what_is_there_all_the_while_is_told_once_while_others_come_and_go() {
    let mut s = Script::new();
    for name in 0..40 {
        s.file(4, &format!("work/stays-{name}"), "");
        s.file(4, &format!("work/goes-{name}"), "");
    }
    s.open(4, "work", DIRECTORY, READ);
    let mut told = String::new();
    // One entry a call; between any two of them one file goes and another one comes.
    for step in 0..40 {
        s.code(
            "(drop (call $fd_readdir (i32.const 4) (i32.const 4096) (i32.const 40)
               (i64.load (i32.const 40)) (i32.const 8)))
             (i64.store (i32.const 40) (i64.load (i32.const 4096)))",
        );
        s.tell(
            BUFFER,
            "(i32.add (i32.const 24) (i32.load (i32.const 4112)))",
        );
        call!(s, OK, path_unlink_file(ROOT, &format!("work/goes-{step}")));
        s.file(5, &format!("work/comes-{step}"), "");
        write!(told, "{step}").unwrap();
    }
    s.code(
        "(drop (call $fd_readdir (i32.const 4) (i32.const 4096) (i32.const 60000)
           (i64.load (i32.const 40)) (i32.const 8)))",
    );
    s.tell(BUFFER, "(i32.load (i32.const 8))");
    let ran = s.run(&work()).await;
    let told = names(&ran.bytes);
    for name in 0..40 {
        let stays = format!("stays-{name}");
        assert_eq!(
            told.iter().filter(|told| **told == stays).count(),
            1,
            "{stays}"
        );
    }
    let mut unique = told.clone();
    unique.dedup();
    assert_eq!(unique, told, "something is told twice");
}

#[tokio::test]
async fn a_directory_that_was_removed_lists_nothing_and_takes_nothing() {
    let mut s = Script::new();
    call!(s, OK, path_create_directory(ROOT, "work/d"));
    s.open(4, "work/d", DIRECTORY, READ);
    call!(s, OK, path_remove_directory(ROOT, "work/d"));
    call!(s, OK, fd_readdir(4, BUFFER, 4_096, 0, OUT));
    s.word(OUT, 0);
    call!(s, NOENT, path_open(4, 1, "f", CREATE, BOTH, 0, 0, OUT));
    call!(s, NOENT, path_create_directory(4, "e"));
    call!(s, OK, path_filestat_get(4, 1, ".", BUFFER));
    s.run(&work()).await;
}
