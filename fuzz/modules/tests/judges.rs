//! E17: with a guard of the runtime switched off, arbitrary modules do what they must not, and the
//! judge of it says so: a soak without a finding had judges that find.

use std::time::{Duration, Instant};

use agentvm_fuzz_modules::{Failure, Module, Shape, bytes, check};
use agentvm_runtime::{Guard, switch_off};

/// For how long is looked for a module that fails: one that does is soon there.
const PATIENCE: Duration = Duration::from_mins(3);

/// What the first module that calls the host and fails with `guard` off, fails with.
fn failure(guard: Guard) -> Failure {
    let deadline = Instant::now() + PATIENCE;
    let modules = (0..400).filter_map(|seed| Module::of(&bytes(seed)));
    let mut modules: Vec<Module> = modules.collect();
    // Their deadline is short, so that none goes on for long.
    modules.retain(|module| module.shape == Shape::Calls);
    for module in &modules {
        assert!(check(module).is_ok(), "one fails with all guards on");
    }
    // How far one gets until its deadline depends on what else the machine does: so again.
    for module in modules.iter().cycle() {
        if let Err(failure) = switch_off(guard, || check(module)) {
            return failure;
        }
        assert!(Instant::now() < deadline, "nothing fails without {guard:?}");
    }
    unreachable!("there are modules");
}

#[test]
fn c02_host_calls_that_cost_nothing_are_found() {
    let failure = failure(Guard::HostCallCharge);
    assert!(matches!(failure, Failure::Expensive { .. }), "{failure}");
}

#[test]
fn c01_fuel_that_ends_nothing_is_found() {
    let failure = failure(Guard::FuelLimit);
    assert!(matches!(failure, Failure::Fuel { .. }), "{failure}");
}
