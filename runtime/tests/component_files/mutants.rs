//! With a guard switched off, the attack it holds back succeeds: so the tests of the
//! guards can fail.

use agentvm_fuzz_driver::preview2::calls::{FOLLOW, READ};
use agentvm_fuzz_driver::{Ran, limits};
use agentvm_runtime::{Guard, switch_off};

use crate::vm::{Calls, filesystem};

/// Makes `calls` with and without `guard`, on this very thread.
fn with_and_without(guard: Guard, run: impl Fn() -> Ran) -> (Ran, Ran) {
    let with = run();
    let without = switch_off(guard, &run);
    (with, without)
}

#[test]
fn b03_without_the_charge_a_listing_costs_no_more_than_its_calls() {
    let filesystem = filesystem();
    let mut calls = Calls::new();
    for index in 0..100 {
        calls.at("create-directory-at", &format!("work/{index}"));
    }
    calls.run_on(&filesystem);
    let (with, without) = with_and_without(Guard::FileCharge, || {
        let mut calls = Calls::new();
        let work = calls.directory("work");
        let listing = calls.script.stream_of("read-directory", work).handle();
        for _ in 0..100 {
            calls.script.next_entry(listing);
        }
        calls.run_with(&filesystem, limits())
    });
    let (with, without) = (with.usage.fuel, without.usage.fuel);
    assert!(with > without + 40_000, "{with} {without}");
}

#[test]
fn d04_without_the_bound_handles_pile_up() {
    let (with, without) = with_and_without(Guard::HandleBound, || {
        let mut calls = Calls::new();
        let answer = calls.script.answer();
        for _ in 0..1_100 {
            calls.script.preview2_into(answer, "get-directories", &[]);
        }
        calls.run_with(&filesystem(), limits())
    });
    assert_eq!(with.ending.exit_code, None);
    assert_eq!(without.ending.exit_code, Some(0));
}

#[test]
fn d04_without_the_bound_any_number_of_files_is_open() {
    let open = || {
        let mut calls = Calls::new();
        let opened = [0; 9].map(|_| calls.open("work", 0, READ));
        let mut limits = limits();
        limits.open_files = 8;
        (calls.run_with(&filesystem(), limits), opened[8])
    };
    let (with, last) = open();
    assert_eq!(with.memory.code(last), "insufficient-memory");
    let (without, last) = switch_off(Guard::OpenFiles, open);
    assert_eq!(without.memory.code(last), "ok");
}

#[test]
fn d06_without_the_bound_one_read_takes_what_it_asks_for() {
    let read = || {
        let mut calls = Calls::new();
        let file = calls.create("work/f");
        calls.script.set_size(file, 90_000);
        let read = calls.script.read(file, u64::MAX, 0);
        (calls.run_with(&filesystem(), limits()), read)
    };
    let (with, reply) = read();
    assert_eq!(with.memory.u32(reply.payload() + 4), 64 << 10);
    let (without, reply) = switch_off(Guard::FileReadBound, read);
    assert_eq!(without.memory.u32(reply.payload() + 4), 90_000);
}

/// The guards of the filesystem itself, as a component meets them.
mod of_the_filesystem {
    use agentvm_runtime::vfs::guards::{Guard, switch_off};

    use super::{Calls, FOLLOW, READ, filesystem};

    /// What `ask` comes to with the guard and without it.
    fn codes(
        guard: Guard,
        ask: impl Fn(&mut Calls) -> agentvm_fuzz_driver::preview2::calls::Reply,
    ) -> [&'static str; 2] {
        let run = || {
            let mut calls = Calls::new();
            let reply = ask(&mut calls);
            calls
                .run_with(&filesystem(), super::limits())
                .memory
                .code(reply)
        };
        [run(), switch_off(guard, run)]
    }

    #[test]
    fn a01_without_the_guard_dots_lead_above() {
        let codes = codes(Guard::EscapeAbove, |calls| {
            let work = calls.directory("work");
            calls.script.stat_at(work, FOLLOW, "../etc/config/app.conf")
        });
        assert_eq!(codes, ["not-permitted", "ok"]);
    }

    #[test]
    fn a08_without_the_guard_a_read_only_mount_is_changed() {
        let codes = codes(Guard::ReadOnlyMount, |calls| {
            calls.at("create-directory-at", "work/frozen/d")
        });
        assert_eq!(codes, ["read-only", "ok"]);
    }

    #[test]
    fn a09_without_the_guard_names_cross_mounts() {
        let codes = codes(Guard::CrossMount, |calls| {
            let root = calls.root;
            calls.write_file("work/f", b"x");
            calls
                .script
                .rename_at(root, "work/f", root, "work/deep/other/f")
        });
        assert_eq!(codes, ["cross-device", "ok"]);
    }

    #[test]
    fn b02_without_the_guard_inodes_do_not_run_out() {
        let codes = codes(Guard::InodeQuota, |calls| {
            for index in 0..200 {
                calls.at("create-directory-at", &format!("work/{index}"));
            }
            calls.open("work/199", 0, READ)
        });
        assert_eq!(codes, ["no-entry", "ok"]);
    }
}
