//! Operations by arbitrary numbers, the same ones on every run: what the fuzzer does for hours,
//! for some seconds. `AGENTVM_SOAK=1` makes it a hundred times as many.

use agentvm_fuzz_driver::check;

/// Sequences, each through both interfaces.
const SEQUENCES: u64 = 1_000;

/// The next of a series of numbers that look arbitrary (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn both_interfaces_say_what_the_filesystem_and_its_model_say() {
    let soak = std::env::var_os("AGENTVM_SOAK").is_some();
    let sequences = if soak { 100 * SEQUENCES } else { SEQUENCES };
    let mut operations = 0;
    for seed in 0..sequences {
        let mut state = seed;
        let words = 20 + next(&mut state) % 40;
        let bytes: Vec<u8> = (0..words)
            .flat_map(|_| next(&mut state).to_le_bytes())
            .collect();
        operations += check(&bytes);
    }
    assert!(operations > 15_000, "only {operations} operations");
}
