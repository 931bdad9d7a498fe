//! A guest that is stopped, or dropped, in whatever host call it is leaves nothing behind.
//!
//! `AGENTVM_SOAK=1` makes it ten thousand times.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use agentvm_policy::EndReason;
use agentvm_runtime::Program;

use crate::components;
use crate::files::script::work;
use crate::harness::{Guest, functions, load, module, until};

/// What each call is made with, in order; the path `work/f` is at 64, a list of one buffer at
/// 128 and one subscription that never comes at 256.
const GIVEN: &[(&str, &str)] = &[
    ("fd_read", "0 128 1 512"),
    ("fd_write", "1 128 1 512"),
    ("path_open", "3 1 64 6 1 66 0 0 512"),
    ("path_create_directory", "3 64 6"),
    ("path_unlink_file", "3 64 6"),
    ("path_filestat_get", "3 1 64 6 1024"),
    ("path_remove_directory", "3 64 6"),
    ("poll_oneoff", "256 1024 1 512"),
    ("random_get", "1024 60000"),
    ("fd_readdir", "3 1024 4096 0 512"),
    ("fd_pwrite", "4 128 1 0 512"),
    ("fd_allocate", "4 0 4096"),
];

/// A program for each function that makes this one call over and over.
fn in_each_host_call() -> Vec<(&'static str, Program)> {
    let memory = "(memory (export \"memory\") 2) (data (i32.const 64) \"work/f\")
        (data (i32.const 128) \"\\00\\10\\00\\00\\00\\10\\00\\00\")
        (data (i32.const 272) \"\\01\\00\\00\\00\\00\\00\\00\\00\\ff\\ff\\ff\\ff\\ff\\ff\\ff\\ff\")";
    let ends = |name: &str| name == "proc_exit";
    let calls = functions().filter(|(name, _)| !ends(name));
    calls
        .map(|(name, types)| {
            let given = GIVEN.iter().find(|(given, _)| *given == name);
            let mut values = given.map_or("", |(_, values)| values).split_whitespace();
            let mut arguments = String::new();
            for ty in &types {
                let value = values.next().unwrap_or("0");
                write!(arguments, "({ty}.const {value})").unwrap();
            }
            let body = format!(
                "(drop (call $path_open (i32.const 3) (i32.const 1) (i32.const 64) (i32.const 6)
                    (i32.const 1) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 512)))
                 (loop $again (drop (call ${name} {arguments})) (br $again))"
            );
            (name, load(&module(memory, &body)).unwrap())
        })
        .collect()
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn rounds(programs: usize) -> usize {
    let soak = std::env::var_os("AGENTVM_SOAK").is_some();
    if soak { 10_000 / programs + 1 } else { 2 }
}

async fn stopped_soon(name: &str, guest: Guest, after: Duration) {
    let running = guest.start();
    running.handle.started().await;
    tokio::time::sleep(after).await;
    let asked = Instant::now();
    running.handle.stop(EndReason::Evicted, Duration::ZERO);
    let ran = running.end().await;
    assert_eq!(
        ran.ending.reason,
        EndReason::Evicted,
        "{name}: {}",
        ran.ending.message
    );
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(2), "{name}: {took:?}");
    assert_eq!(ran.usage.memory_bytes, 0, "{name}");
}

async fn dropped(name: &str, guest: Guest, after: Duration) {
    let (vm, handle, _) = guest.prepare();
    let task = tokio::spawn(vm.run());
    handle.started().await;
    tokio::time::sleep(after).await;
    task.abort();
    assert!(task.await.is_err(), "{name}");
    until(|| handle.usage().memory_bytes == 0).await;
}

#[tokio::test]
async fn c08_a_guest_that_is_stopped_or_dropped_in_any_host_call_leaves_nothing() {
    let filesystem = work();
    let components = components::in_host_calls();
    let mut programs = in_each_host_call();
    programs.extend(
        components
            .into_iter()
            .map(|program| ("a component", program)),
    );
    let before = open_descriptors();
    for round in 0..rounds(programs.len()) {
        // At another moment each time: at once, and up to two milliseconds later.
        let after = Duration::from_micros(u64::try_from(round % 5 * 500).unwrap());
        for (name, program) in &programs {
            let guest = Guest::of(program.clone()).filesystem(&filesystem);
            if round % 2 == 0 {
                stopped_soon(name, guest, after).await;
            } else {
                dropped(name, guest, after).await;
            }
        }
        // Whoever runs next finds a slot, and no file is open any more that has no name.
        assert_eq!(Guest::body("").exit_code().await, 0);
        let named = filesystem.usage().inodes;
        assert!(named <= work().usage().inodes + 1, "{named}");
    }
    let after = open_descriptors();
    assert!(after <= before + 16, "{before} {after}"); // other tests open some meanwhile
}
