//! Modules that arbitrary bytes stand for, under limits and against another engine.
//!
//! `cargo fuzz run --sanitizer none modules` in the workspace's folder, with any compiler. What the
//! machine code of a module does is not instrumented: the bytes that make new paths are those of
//! generator, compiler and host.
//!
//! A fuzzer begins with inputs of a few bytes, which make empty modules. So an input is the
//! beginning of the bytes that its first eight stand for as a seed.

#![no_main]

use agentvm_fuzz_modules::{Module, bytes, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|given: &[u8]| {
    let Some(seed) = given.first_chunk() else {
        return;
    };
    let mut all = bytes(u64::from_le_bytes(*seed));
    all.splice(..given.len().min(all.len()), given.iter().copied());
    if let Some(module) = Module::of(&all)
        && let Err(failure) = check(&module)
    {
        panic!("{failure}");
    }
});
