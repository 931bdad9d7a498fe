//! Guests that have the host work: random bytes, timers, output, an environment.

use super::{again, module};

/// Asks for 32 MiB of random bytes, for ever.
pub(crate) fn asks_for_random_bytes() -> Vec<u8> {
    let ask = "(drop (call $random_get (i32.const 0) (i32.const 33554432)))";
    module(512, "", &again(ask))
}

/// Writes 12 MB of `byte` at once, for ever.
pub(crate) fn floods(byte: u8) -> Vec<u8> {
    let body = format!(
        "(memory.fill (i32.const 1024) (i32.const {byte}) (i32.const 12000000))
         (loop $flood (call $print (i32.const 1024) (i32.const 12000000)) (br $flood))"
    );
    module(200, "", &body)
}

/// Writes 1,024 buffers with nothing in them, for ever.
pub(crate) fn writes_nothing() -> Vec<u8> {
    let write = "(drop (call $fd_write
        (i32.const 1) (i32.const 4096) (i32.const 1024) (i32.const 8)))";
    module(1, "", &again(write))
}

/// Computes for 50 ms and sleeps for as long, for ever.
pub(crate) fn comes_in_bursts() -> Vec<u8> {
    let now = "(func $now (result i64)
        (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 16)))
        (i64.load (i32.const 16)))";
    let body = again(
        "(local.set $end (i64.add (call $now) (i64.const 50000000)))
         (loop $compute
           (local.set $left (i32.const 100000))
           (loop $spin
             (br_if $spin (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
           (br_if $compute (i64.lt_u (call $now) (local.get $end))))
         (call $timer (i32.const 0) (i64.const 50000000) (i32.const 0))
         (drop (call $poll_oneoff (i32.const 128) (i32.const 512) (i32.const 1) (i32.const 8)))",
    );
    let body = format!("(local $end i64) (local $left i32) {body}");
    module(1, now, &body)
}

/// Waits for `timers` timers of `ns` at once, for ever.
pub(crate) fn waits_for(timers: u32, ns: u64) -> Vec<u8> {
    let body = format!(
        "(local $n i32)
         (loop $set
           (call $timer (local.get $n) (i64.const {ns}) (i32.const 0))
           (local.set $n (i32.add (local.get $n) (i32.const 1)))
           (br_if $set (i32.lt_u (local.get $n) (i32.const {timers}))))
         (loop $wait
           (drop (call $poll_oneoff
             (i32.const 128) (i32.const 131072) (i32.const {timers}) (i32.const 8)))
           (br $wait))"
    );
    module(4, "", &body)
}

/// Asks for 600,000 timers at once, for ever.
pub(crate) fn polls_too_much() -> Vec<u8> {
    let poll = "(drop (call $poll_oneoff
        (i32.const 0) (i32.const 33000000) (i32.const 600000) (i32.const 65000000)))";
    module(1000, "", &again(poll))
}

/// Waits for its stdin, which nobody writes to.
pub(crate) fn reads_stdin() -> Vec<u8> {
    let read = "(call $vector (i32.const 1024) (i32.const 64))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";
    module(1, "", &again(read))
}

/// Lets others run, for ever.
pub(crate) fn yields() -> Vec<u8> {
    module(1, "", &again("(drop (call $sched_yield))"))
}

/// Has its environment copied, for ever.
pub(crate) fn reads_its_environment() -> Vec<u8> {
    let read = "(drop (call $environ_get (i32.const 0) (i32.const 65536)))";
    module(64, "", &again(read))
}
