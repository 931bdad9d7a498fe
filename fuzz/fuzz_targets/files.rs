//! Arbitrary operations on files, through both guest interfaces, against the filesystem without
//! a guest and against the model of it.
//!
//! `cargo fuzz run --sanitizer none files` in the workspace's folder, with any compiler. The
//! sanitizers need a nightly one; nothing here is unsafe.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    agentvm_fuzz_driver::check(bytes);
});
