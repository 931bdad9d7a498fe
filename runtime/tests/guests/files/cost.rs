//! What files cost in fuel: the host's work is paid for, and done in parts.

use std::time::Duration;

use agentvm_policy::EndReason;
use agentvm_runtime::vfs::Filesystem;

use super::script::*;
use crate::harness::{Guest, PATIENCE};

/// A directory of so many files.
fn full(entries: u32) -> Filesystem {
    let names: Vec<_> = (0..entries).map(|n| format!("file-{n:06}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    mounted(&[self::files("/full", &files)])
}

/// Lists the directory of all files again and again.
pub(crate) fn lists_all_the_time(entries: u32) -> Guest {
    let mut s = Script::new();
    s.open(4, "full/..data", DIRECTORY, READ);
    s.code(
        "(loop $again
           (drop (call $fd_readdir
             (i32.const 4) (i32.const 4096) (i32.const 900000) (i64.const 0) (i32.const 8)))
           (local.set $i (i32.add (local.get $i) (i32.const 1)))
           (br_if $again (i32.lt_u (local.get $i) (i32.const 30))))",
    );
    s.spare(1 << 20);
    s.guest(&full(entries))
}

#[tokio::test]
async fn c03_b03_listing_a_large_directory_all_the_time_is_paid_for() {
    let ran = lists_all_the_time(5_000).fuel(3_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    let cpu = ran.usage.cpu;
    assert!(cpu < Duration::from_millis(500), "{cpu:?}");
}

#[tokio::test]
async fn b03_a_large_directory_is_listed_whole_in_one_call() {
    let mut s = Script::new();
    s.open(4, "full/..data", DIRECTORY, READ);
    call!(s, OK, fd_readdir(4, BUFFER, 900_000, 0, OUT));
    s.word(OUT, 24 * 10_002 + 3 + 10_000 * 11);
    s.spare(1 << 20);
    s.run(&full(10_000)).await;
}

/// Adds calls to a script.
type Calls = fn(&mut Script);

#[tokio::test]
async fn c03_every_call_costs_by_what_it_works() {
    let chain = |s: &mut Script| {
        call!(s, OK, path_symlink(&"./".repeat(1_000), ROOT, "work/l0"));
        for link in 1..40 {
            let target = format!("{}l{}", "./".repeat(1_000), link - 1);
            call!(s, OK, path_symlink(&target, ROOT, &format!("work/l{link}")));
        }
    };
    let fuel_of = |calls: Calls| async move {
        let mut s = Script::new();
        chain(&mut s);
        calls(&mut s);
        s.run(&work()).await.usage.fuel
    };
    let nothing = fuel_of(|_| ()).await;
    let costs: [(&str, u64, Calls); 4] = [
        ("a short path", 1_000, |s| {
            call!(s, OK, path_filestat_get(ROOT, 1, ".", BUFFER));
        }),
        ("forty links", 20_000, |s| {
            call!(s, OK, path_filestat_get(ROOT, 1, "work/l39", BUFFER));
        }),
        ("64 KiB", 262_144, |s| {
            s.open(4, "work/f", CREATE, BOTH);
            let (list, count) = s.list(0, 65_536);
            call!(s, OK, fd_write(4, list, count, OUT));
        }),
        ("a long path", 16_000, |s| {
            call!(
                s,
                OK,
                path_filestat_get(ROOT, 1, &"./".repeat(2_048), BUFFER)
            );
        }),
    ];
    for (what, least, calls) in costs {
        let fuel = fuel_of(calls).await - nothing;
        assert!(fuel >= least, "{what}: {fuel}");
    }
}

#[tokio::test]
async fn c03_storms_of_any_call_come_to_an_end_with_the_fuel() {
    for call in [
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 65536) (i32.const 8) (i32.const 4096))",
        "(call $path_open (i32.const 3) (i32.const 1) (i32.const 65536) (i32.const 8) (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 8))",
        "(call $fd_filestat_get (i32.const 3) (i32.const 4096))",
        "(call $fd_filestat_set_size (i32.const 4) (i64.const 8000000))",
        "(call $fd_allocate (i32.const 4) (i64.const 0) (i64.const 8000000))",
        "(i32.or (call $fd_allocate (i32.const 4) (i64.const 0) (i64.const 8000000))
                 (call $fd_filestat_set_size (i32.const 4) (i64.const 0)))",
        "(call $path_rename (i32.const 3) (i32.const 65536) (i32.const 8) (i32.const 3) (i32.const 65536) (i32.const 8))",
    ] {
        let mut s = Script::new();
        s.text(b"work/one");
        s.file(4, "work/one", "");
        s.open(4, "work/one", 0, BOTH);
        s.code(&format!("(loop $again (drop {call}) (br $again))"));
        let ran = s.guest(&work()).fuel(20_000_000).run().await;
        assert_eq!(ran.ending.reason, EndReason::OutOfFuel, "{call}");
        // What the tariff says, and a debug build's and a busy machine's allowance.
        assert!(
            ran.usage.cpu < Duration::from_secs(2),
            "{call}: {:?}",
            ran.usage.cpu
        );
    }
}

/// Writes 8 MiB in one call.
pub(crate) fn writes_much_at_once(filesystem: &Filesystem) -> Guest {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    s.spare(8 << 20);
    let (list, count) = s.list(0, 8 << 20);
    call!(s, OK, fd_write(4, list, count, OUT));
    s.guest(filesystem)
}

#[tokio::test]
async fn c02_d06_a_large_write_is_paid_for_while_it_goes_on() {
    let filesystem = work();
    let ran = writes_much_at_once(&filesystem).fuel(1_000_000).run().await;
    assert_eq!(ran.ending.reason, EndReason::OutOfFuel);
    let bytes = filesystem.usage().peak_bytes;
    assert!((128 << 10..512 << 10).contains(&bytes), "{bytes}");
    let ran = writes_much_at_once(&filesystem).run().await;
    assert_eq!(ran.ending.exit_code, Some(0));
}

#[tokio::test]
async fn a_guest_that_reads_all_the_time_can_be_stopped() {
    let mut s = Script::new();
    s.open(4, "work/f", CREATE, BOTH);
    call!(s, OK, fd_filestat_set_size(4, 16 << 20));
    s.tell(BUFFER, "(i32.const 1)");
    let (list, count) = s.list(0, 8 << 20);
    s.code(&format!(
        "(loop $again
           (drop (call $fd_pread (i32.const 4) (i32.const {list}) (i32.const {count}) (i64.const 0) (i32.const 8)))
           (br $again))"
    ));
    s.spare(8 << 20);
    let running = s.guest(&work()).start();
    running.says("\0").await;
    running.handle.stop(EndReason::Stopped, Duration::ZERO);
    let ran = running.end().await;
    assert_eq!(ran.ending.reason, EndReason::Stopped);
}

#[tokio::test]
async fn c09_storms_on_files_let_others_run() {
    let storms = [
        "(call $fd_readdir (i32.const 4) (i32.const 4096) (i32.const 60000) (i64.const 0) (i32.const 8))",
        "(call $fd_pread (i32.const 5) (i32.const 64) (i32.const 1) (i64.const 0) (i32.const 8))",
        "(call $path_filestat_get (i32.const 3) (i32.const 1) (i32.const 65536) (i32.const 4) (i32.const 4096))",
    ];
    for storm in storms {
        let mut s = Script::new();
        s.text(b"full");
        s.open(4, "full/..data", DIRECTORY, READ);
        s.open(5, "full/file-000000", 0, READ);
        s.list(BUFFER, 60_000);
        s.code(&format!("(loop $again (drop {storm}) (br $again))"));
        let busy = s.guest(&full(1_000)).fuel(1_000_000_000).start();
        busy.handle.started().await;
        let other = tokio::time::timeout(PATIENCE, Guest::body("").exit_code());
        assert_eq!(other.await.unwrap(), 0, "{storm}");
        busy.handle.stop(EndReason::Stopped, Duration::ZERO);
        let ended = busy.end().await.ending.reason;
        assert_eq!(ended, EndReason::Stopped, "{storm}");
    }
}
