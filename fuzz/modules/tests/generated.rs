//! E17: arbitrary modules, for as long as CI has time: `AGENTVM_FUZZ_SECONDS`, two minutes where
//! it is not set. `cargo xtask soak` runs a million.
use std::time::Duration;

use agentvm_fuzz_modules::{Settings, soak};
use agentvm_policy::EndReason;

const SECONDS: u64 = 120;
/// Two engines, and what two modules at a time may hold.
const MOST_MIB: u64 = 512;

#[test]
#[cfg_attr(feature = "mutants", ignore = "it runs without the switches")]
fn e17_arbitrary_modules_neither_fail_the_host_nor_evade_limits_nor_differ_elsewhere() {
    let seconds = std::env::var("AGENTVM_FUZZ_SECONDS");
    let seconds = seconds.map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let tally = soak(Settings {
        seed: 0,
        count: u64::MAX,
        time: Duration::from_secs(seconds),
        jobs: std::thread::available_parallelism().unwrap().get(),
        progress: |_| (),
    })
    .unwrap_or_else(|error| panic!("{error}"));
    println!("{tally}");
    assert!(tally.modules >= seconds, "only {tally}");
    assert!(tally.compared * 4 >= tally.modules, "compared few: {tally}");
    assert!(tally.resident_mib < MOST_MIB, "left memory behind: {tally}");
    for reason in [EndReason::Completed, EndReason::Trap, EndReason::OutOfFuel] {
        assert!(tally.ends.contains_key(&reason), "no {reason:?}: {tally}");
    }
}

/// Modules whose end the other engine names in another way; each was found by a longer run.
#[test]
fn an_end_that_the_other_engine_names_otherwise_is_the_same_end() {
    for seed in [173_250, 202_607, 259_417] {
        let only = Settings {
            seed,
            count: 1,
            time: Duration::MAX,
            jobs: 1,
            progress: |_| (),
        };
        let tally = soak(only).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(tally.compared, 1, "seed {seed}: {tally}");
    }
}
