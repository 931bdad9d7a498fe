//! What each function of preview1 answers, and that none can be made to fail the host.

use std::fmt::Write as _;

use agentvm_policy::{ClockGrant, EndReason};
use agentvm_runtime::Output;

use crate::harness::{Guest, functions, say};

const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOSYS: i32 = 52;
const NOTDIR: i32 = 54;
const NOTSOCK: i32 = 57;
const SPIPE: i32 = 70;
const NOTCAPABLE: i32 = 76;

/// `name` called with `args`; each argument is a number, its type comes from the function.
fn call(name: &str, args: &[i64]) -> String {
    let (_, types) = functions().find(|(known, _)| *known == name).unwrap();
    assert_eq!(types.len(), args.len(), "{name}");
    let mut text = format!("(call ${name}");
    for (ty, arg) in types.iter().zip(args) {
        write!(text, " ({ty}.const {arg})").unwrap();
    }
    text + ")"
}

async fn answer(name: &str, args: &[i64]) -> i32 {
    Guest::body(&format!("(call $proc_exit {})", call(name, args)))
        .exit_code()
        .await
}

#[tokio::test]
async fn every_closed_function_answers_with_its_own_error() {
    for (name, args, errno) in [
        ("fd_prestat_get", &[3, 0][..], BADF),
        ("fd_prestat_get", &[0, 0], NOTDIR),
        ("fd_prestat_dir_name", &[3, 0, 1], BADF),
        ("fd_readdir", &[3, 0, 64, 0, 128], BADF),
        ("fd_read", &[1, 0, 0, 16], BADF),
        ("fd_read", &[7, 0, 0, 16], BADF),
        ("fd_write", &[0, 0, 0, 16], BADF),
        ("fd_write", &[3, 0, 0, 16], BADF),
        ("fd_seek", &[1, 0, 0, 16], SPIPE),
        ("fd_tell", &[0, 16], SPIPE),
        ("fd_pread", &[0, 0, 0, 0, 16], SPIPE),
        ("fd_pwrite", &[1, 0, 0, 0, 16], SPIPE),
        ("fd_advise", &[1, 0, 0, 0], SPIPE),
        ("fd_allocate", &[1, 0, 1 << 40], INVAL),
        ("fd_sync", &[1], INVAL),
        ("fd_datasync", &[4], BADF),
        ("fd_filestat_set_size", &[1, 1 << 40], INVAL),
        ("fd_filestat_set_times", &[1, 0, 0, 0], INVAL),
        ("fd_fdstat_set_flags", &[0, 1 << 9], INVAL),
        ("fd_fdstat_set_rights", &[1, 1 << 1, 0], NOTCAPABLE),
        ("path_open", &[3, 0, 0, 1, 0, 0, 0, 0, 64], BADF),
        ("path_open", &[0, 0, 0, 1, 0, 0, 0, 0, 64], NOTDIR),
        ("path_create_directory", &[3, 0, 1], BADF),
        ("path_symlink", &[0, 1, 3, 0, 1], BADF),
        ("path_rename", &[3, 0, 1, 3, 0, 1], BADF),
        ("sock_accept", &[3, 0, 64], BADF),
        ("sock_send", &[1, 0, 0, 0, 64], NOTSOCK),
        ("proc_raise", &[9], NOSYS),
        ("clock_time_get", &[77, 0, 0], INVAL),
        ("clock_res_get", &[-1, 0], INVAL),
    ] {
        assert_eq!(answer(name, args).await, errno, "{name}{args:?}");
    }
}

#[tokio::test]
async fn denials_are_counted_by_interface() {
    let body = format!(
        "(drop {}) (drop {}) (drop {}) (drop {}) (drop {})",
        call("path_open", &[3, 0, 0, 1, 0, 0, 0, 0, 64]),
        call("path_unlink_file", &[3, 0, 1]),
        call("sock_shutdown", &[1, 0]),
        call("proc_raise", &[9]),
        call("fd_prestat_get", &[3, 0]),
    );
    let denials = Guest::body(&body).run().await.usage.denials;
    let denials: Vec<_> = denials.into_iter().collect();
    assert_eq!(denials, [("filesystem", 2), ("process", 1), ("sockets", 1)]);
}

#[tokio::test]
async fn what_lies_outside_of_memory_is_a_fault() {
    for (name, args) in [
        ("args_sizes_get", &[65_533, 0][..]),
        ("args_sizes_get", &[0, -1]),
        ("clock_time_get", &[1, 0, 65_529]),
        ("fd_fdstat_get", &[1, 65_520]),
        ("fd_filestat_get", &[1, -64]),
        ("fd_read", &[0, 65_532, 1, 0]),
        ("fd_write", &[1, 0, 0, 65_534]),
        ("fd_write", &[1, -4, 1, 0]),
        ("poll_oneoff", &[65_500, 0, 1, 64]),
        ("poll_oneoff", &[0, -8, 1, 64]),
        ("poll_oneoff", &[0, 128, 1, -1]),
        ("random_get", &[65_535, 2]),
        ("random_get", &[0, -1]),
    ] {
        assert_eq!(answer(name, args).await, FAULT, "{name}{args:?}");
    }
}

#[tokio::test]
async fn no_arguments_whatever_make_a_function_trap_or_fail_the_host() {
    let extremes = [
        0,
        1,
        3,
        64,
        65_535,
        65_536,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        -1,
    ];
    for (name, types) in functions() {
        let is_end_or_wait = name == "proc_exit" || name == "fd_read" || name == "poll_oneoff";
        if is_end_or_wait {
            continue;
        }
        let mut body = String::new();
        for extreme in extremes {
            write!(body, "(drop {})", call(name, &vec![extreme; types.len()])).unwrap();
            for place in 0..types.len() {
                let mut args = vec![0; types.len()];
                args[place] = extreme;
                write!(body, "(drop {})", call(name, &args)).unwrap();
            }
        }
        let ran = Guest::body(&body).run().await;
        assert_eq!(
            ran.ending.reason,
            EndReason::Completed,
            "{name}: {}",
            ran.ending.message
        );
    }
}

#[tokio::test]
async fn arguments_and_environment_are_exactly_what_is_declared() {
    let print = |sizes: &str, get: &str| {
        format!(
            "(drop (call ${sizes} (i32.const 0) (i32.const 4)))
             (drop (call ${get} (i32.const 100) (i32.const 200)))
             (i32.store (i32.const 8) (i32.const 200))
             (i32.store (i32.const 12) (i32.load (i32.const 4)))
             (drop (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))"
        )
    };
    let body = print("args_sizes_get", "args_get") + &print("environ_sizes_get", "environ_get");
    let ran = Guest::body(&body)
        .args(&["prog", "", "ä b"])
        .env("K", "v=w")
        .run()
        .await;
    assert_eq!(ran.stdout, "prog\0\0ä b\0K=v=w\0");
    assert_eq!(Guest::body(&body).run().await.stdout, "");
}

#[tokio::test]
async fn m01_clocks_are_as_coarse_as_is_granted() {
    let body = "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
        (drop (call $clock_res_get (i32.const 1) (i32.const 8)))
        (if (i64.ne (i64.rem_u (i64.load (i32.const 0)) (i64.load (i32.const 8))) (i64.const 0))
          (then (call $proc_exit (i32.const -2))))
        (call $proc_exit (i32.wrap_i64 (i64.load (i32.const 8))))";
    assert_eq!(Guest::body(body).exit_code().await, 1_000_000);
    let grant = Some(ClockGrant {
        resolution_ns: 1_000,
    });
    assert_eq!(
        Guest::body(body)
            .grants(|g| g.clock = grant)
            .exit_code()
            .await,
        1_000
    );
}

#[tokio::test]
async fn m02_the_monotonic_clock_counts_from_the_start_of_the_vm_and_is_never_zero() {
    let body = "(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 0)))
        (if (i64.eqz (i64.load (i32.const 0))) (then (call $proc_exit (i32.const 1))))
        (if (i64.gt_u (i64.load (i32.const 0)) (i64.const 60000000000))
          (then (call $proc_exit (i32.const 2))))";
    assert_eq!(Guest::body(body).exit_code().await, 0);
}

#[tokio::test]
async fn a_sleep_lasts_as_long_as_the_guests_own_clock_says() {
    let now =
        |at| format!("(drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const {at})))");
    let body = format!(
        "{} (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 15000001))
         (drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 1) (i32.const 512)))
         {}
         (if (i32.ne (i32.load (i32.const 512)) (i32.const 1)) (then (call $proc_exit (i32.const 1))))
         (if (i64.lt_u (i64.sub (i64.load (i32.const 1008)) (i64.load (i32.const 1000)))
               (i64.const 15000001)) (then (call $proc_exit (i32.const 2))))",
        now(1_000),
        now(1_008)
    );
    assert_eq!(Guest::body(&body).exit_code().await, 0);
}

#[tokio::test]
async fn a_poll_tells_each_ready_subscription_by_its_userdata() {
    // Stdout is ready, descriptor 9 is wrong, stdin is not ready.
    let subscription = |index: i32, userdata: i64, tag: i32, fd: i32| {
        let at = index * 48;
        format!(
            "(i64.store (i32.const {at}) (i64.const {userdata}))
             (i32.store8 (i32.const {}) (i32.const {tag}))
             (i32.store (i32.const {}) (i32.const {fd}))",
            at + 8,
            at + 16
        )
    };
    let body = format!(
        "{}{}{}
         (drop (call $poll_oneoff (i32.const 0) (i32.const 256) (i32.const 3) (i32.const 512)))
         (call $proc_exit (i32.add
           (i32.mul (i32.load (i32.const 512)) (i32.const 1000000))
           (i32.add
             (i32.mul (i32.load (i32.const 256)) (i32.const 10000))
             (i32.add
               (i32.mul (i32.load (i32.const 288)) (i32.const 100))
               (i32.load16_u (i32.const 296))))))",
        subscription(0, 11, 1, 0),
        subscription(1, 22, 2, 1),
        subscription(2, 33, 1, 9),
    );
    assert_eq!(Guest::body(&body).exit_code().await, 2_223_308);
}

#[tokio::test]
async fn a_closed_descriptor_stays_closed_and_a_renumbered_one_moves() {
    let close = call("fd_close", &[1]);
    let body = format!("(drop {close}) {} (call $proc_exit {close})", say("x"));
    let ran = Guest::body(&body).run().await;
    assert_eq!(
        (ran.ending.exit_code, ran.stdout.as_str()),
        (Some(BADF), "")
    );
    let renumber = call("fd_renumber", &[2, 1]);
    let body = format!(
        "(drop {renumber}) (call $proc_exit {})",
        call("fd_close", &[2])
    );
    assert_eq!(Guest::body(&body).exit_code().await, BADF);
}

#[tokio::test]
async fn buffers_are_written_in_order_and_as_one() {
    let body = "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 3))
        (i32.store (i32.const 8) (i32.const 0)) (i32.store (i32.const 12) (i32.const 0))
        (i32.store (i32.const 16) (i32.const 200)) (i32.store (i32.const 20) (i32.const 2))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 3) (i32.const 64)))
        (call $proc_exit (i32.load (i32.const 64)))";
    let data = "(data (i32.const 100) \"abc\") (data (i32.const 200) \"de\")";
    let ran = Guest::with(data, body).run().await;
    assert_eq!(
        (ran.ending.exit_code, ran.stdout.as_str()),
        (Some(5), "abcde")
    );
}

/// Drops all output.
struct Nowhere;

impl Output for Nowhere {
    fn write(&self, _: &[u8]) {}
}

/// Calls `name` with whatever random bytes say, over memory full of random bytes.
fn call_at_random(name: &str, types: &[&str]) -> String {
    let mut text = format!("(drop (call ${name}");
    for (index, ty) in types.iter().enumerate() {
        let word = format!("({ty}.load (i32.const {}))", index * 8);
        // Half of the addresses lie inside of the memory, half of the descriptors are open.
        let small = format!("({ty}.and {word} ({ty}.const 0x1fff3))");
        let coin = format!(
            "(i32.and (i32.load8_u (i32.const {})) (i32.const 1))",
            200 + index
        );
        write!(text, " (select {word} {small} {coin})").unwrap();
    }
    text + "))"
}

#[tokio::test]
async fn no_random_arguments_over_random_memory_make_a_function_trap_or_fail_the_host() {
    for (name, types) in functions().filter(|(name, _)| *name != "proc_exit") {
        let body = format!(
            "(local $i i32) (drop (call $fd_fdstat_set_flags (i32.const 0) (i32.const 4)))
             (loop $again
               (drop (call $random_get (i32.const 0) (i32.const 65536)))
               {}
               (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $i) (i32.const 100))))",
            call_at_random(name, &types)
        );
        let guest = Guest::body(&body)
            .stdout(Nowhere)
            .limits(|l| l.timeout_ms = Some(3_000));
        let ran = guest.run().await;
        // A random poll may wait for a random time.
        let waited = name == "poll_oneoff" && ran.ending.reason == EndReason::DeadlineExceeded;
        let message = ran.ending.message;
        assert!(
            ran.ending.reason == EndReason::Completed || waited,
            "{name}: {message}"
        );
    }
}
