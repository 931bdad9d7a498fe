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
