//! Arbitrary requests to the network, from their text to the bytes that are sent.
//!
//! `cargo fuzz run --sanitizer none network` in the workspace's folder, with any compiler.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    agentvm_fuzz_requests::check(bytes);
});
