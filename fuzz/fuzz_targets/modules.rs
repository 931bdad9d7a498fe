//! Modules that arbitrary bytes stand for, under limits and against another engine.
//!
//! `cargo fuzz run --sanitizer none modules -- -max_len=4096` in the workspace's folder, with any
//! compiler. What the machine code of a module does is not instrumented: the bytes that make new
//! paths are those of generator, compiler and host.

#![no_main]

use agentvm_fuzz_modules::{Module, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some(module) = Module::of(bytes)
        && let Err(failure) = check(&module)
    {
        panic!("{failure}");
    }
});
