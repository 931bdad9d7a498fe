//! Arbitrary operations on files, through both guest interfaces, against the filesystem without
//! a guest and against the model of it.
//!
//! `cargo fuzz run files` in `fuzz/` or beside it, with a nightly compiler or with
//! `RUSTC_BOOTSTRAP=1` in the environment.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    agentvm_fuzz_driver::check(bytes);
});
