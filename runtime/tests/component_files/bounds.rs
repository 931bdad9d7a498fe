//! What a component can hold and cost: storage, inodes, handles, host memory, fuel.

use agentvm_fuzz_driver::preview2::calls::READ;
use agentvm_fuzz_driver::{Arg, limits};
use agentvm_policy::EndReason;
use agentvm_runtime::vfs::Filesystem;

use crate::vm::{Calls, INODES, STORAGE, filesystem};

#[test]
fn b01_a_file_is_never_larger_than_its_volume() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let grown = [STORAGE + 1, 1 << 40, u64::MAX].map(|size| calls.script.set_size(file, size));
    let far = [1 << 40, u64::MAX].map(|at| calls.script.write(file, b"x", at));
    let stream = calls
        .script
        .stream_at("write-via-stream", file, 1 << 40)
        .handle();
    let streamed = calls.script.stream_write(stream, b"x");
    let code = calls.script.error_code(streamed.stream_error());
    let fits = calls.script.set_size(file, STORAGE / 2);
    let memory = calls.run_on(&filesystem);
    assert_eq!(grown.map(|reply| memory.code(reply)), ["file-too-large"; 3]);
    assert_eq!(far.map(|reply| memory.code(reply)), ["file-too-large"; 2]);
    assert_eq!(memory.stream(streamed), "last-operation-failed");
    let [some, number] = [0, 1].map(|at| memory.u8(code.stored() + at));
    assert_eq!((some, number), (1, 8));
    assert_eq!(memory.code(fits), "ok");
    assert!(filesystem.usage().bytes < STORAGE / 2);
}

/// Makes directories `from..to` below `/work`.
fn directories(filesystem: &Filesystem, from: u64, to: u64) -> Vec<&'static str> {
    let mut calls = Calls::new();
    let made: Vec<_> = (from..to)
        .map(|index| calls.at("create-directory-at", &format!("work/{index}")))
        .collect();
    let memory = calls.run_on(filesystem);
    made.into_iter().map(|reply| memory.code(reply)).collect()
}

#[test]
fn b02_inodes_run_out_at_their_limit() {
    let filesystem = filesystem();
    let left = INODES - filesystem.usage().inodes;
    let codes = directories(&filesystem, 0, left + 3);
    let fit = codes.iter().take_while(|&&code| code == "ok").count();
    assert_eq!(fit, usize::try_from(left).unwrap());
    assert_eq!(codes[fit..], ["insufficient-space"; 3]);
    assert_eq!(filesystem.usage().inodes, INODES);
}

#[test]
fn b03_a_directory_is_read_by_the_entry_and_each_is_paid_for() {
    let filesystem = filesystem();
    directories(&filesystem, 0, 150);
    let fuel = |entries| {
        let mut calls = Calls::new();
        let work = calls.directory("work");
        let listing = calls.script.stream_of("read-directory", work).handle();
        for _ in 0..entries {
            calls.script.next_entry(listing);
        }
        calls.run_with(&filesystem, limits()).usage.fuel
    };
    let (few, many) = (fuel(10), fuel(110));
    assert!(many - few > 100 * 1_400, "{few} {many}"); // more than the calls alone
}

#[test]
fn d04_open_files_are_bounded_and_dropping_one_makes_room() {
    let mut calls = Calls::new();
    let opened: Vec<_> = (0..10).map(|_| calls.open("work", 0, READ)).collect();
    calls
        .script
        .drop_handle("drop-descriptor", opened[0].handle());
    let again = calls.open("work", 0, READ);
    let fresh = calls.open("work/fresh", 1, READ);
    let stat = calls.script.stat_at(calls.root, 0, "work/fresh");
    let mut limits = limits();
    limits.open_files = 8;
    let ran = calls.run_with(&filesystem(), limits);
    let codes: Vec<_> = opened.iter().map(|&reply| ran.memory.code(reply)).collect();
    assert_eq!(codes[..8], ["ok"; 8]);
    assert_eq!(codes[8..], ["insufficient-memory"; 2]);
    assert_eq!(ran.memory.code(again), "ok");
    assert_eq!(ran.memory.code(fresh), "insufficient-memory");
    assert_eq!(ran.memory.code(stat), "no-entry"); // nothing was made for want of a handle
}

#[test]
fn d04_listings_and_streams_end_at_the_bound_of_handles() {
    for name in ["read-directory", "append-via-stream"] {
        let mut calls = Calls::new();
        let file = calls.create("work/f");
        let of = if name == "read-directory" {
            calls.root
        } else {
            file
        };
        let first = calls.script.stream_of(name, of);
        let answer = calls.script.answer();
        for _ in 0..1_100 {
            calls.script.preview2_into(answer, name, &[of]);
        }
        let last = calls.script.stream_of(name, of);
        let drop = if name == "read-directory" {
            "drop-listing"
        } else {
            "drop-out"
        };
        calls.script.drop_handle(drop, first.handle());
        let memory = calls.run();
        assert_eq!(memory.code(last), "insufficient-memory", "{name}");
    }
}

#[test]
fn d06_one_read_never_takes_more_than_64_kib_of_the_host() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    calls.script.set_size(file, 500_000);
    let read = calls.script.read(file, u64::MAX, 0);
    calls.script.drop_handle("drop-descriptor", file);
    let ran = calls.run_with(&filesystem, limits());
    assert_eq!(ran.memory.u32(read.payload() + 4), 64 << 10);
    assert_eq!(ran.memory.u8(read.payload() + 8), 0);

    let mut calls = Calls::new();
    let file = calls.open("work/f", 0, READ).handle();
    let stream = calls.script.stream_at("read-via-stream", file, 0).handle();
    let read = calls.script.stream_read(stream, u64::MAX);
    let ran = calls.run_with(&filesystem, limits());
    assert_eq!(ran.memory.u32(read.payload() + 4), 64 << 10);
}

#[test]
fn d06_a_write_of_megabytes_is_cut_and_all_of_it_is_paid_for() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let bytes = 600 << 10;
    let args = [file, Arg::Is(0x1_0000), Arg::Is(bytes), Arg::Is(0)];
    let answer = calls.script.preview2("write", &args);
    let ran = calls.run_with(&filesystem, limits());
    assert_eq!(ran.ending.exit_code, Some(0), "{}", ran.ending.message);
    assert_eq!(ran.memory.u64(answer.stored() + 8), 64 << 10);
    assert!(ran.usage.fuel > 4 * bytes, "{}", ran.usage.fuel);
}

#[test]
fn d06_a_stream_takes_no_more_than_it_offers() {
    let mut calls = Calls::new();
    let file = calls.create("work/f");
    let stream = calls.script.stream_at("write-via-stream", file, 0).handle();
    calls
        .script
        .stream_write_arg(stream, [0x1_0000, (64 << 10) + 1].map(Arg::from));
    let ran = calls.run_with(&filesystem(), limits());
    assert_eq!(ran.ending.reason, EndReason::Trap);
}
