//! `cargo xtask soak`: the long forms of tests that run for seconds in CI, then the fuzzers.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::step;

/// The version of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";
/// The fuzz targets, in the order in which they run.
const TARGETS: [&str; 1] = ["files"];
/// Tests that look at `AGENTVM_SOAK`.
const LONG_TESTS: [&str; 2] = ["filesystem", "seeds"];

/// How long to look for what nobody thought of.
#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// Minutes for each fuzz target; 0 runs the long tests alone.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
}

/// Runs the long tests, then each fuzz target for its minutes.
pub(crate) fn soak(args: &SoakArgs) -> anyhow::Result<()> {
    let mut tests = step::cargo(["test", "--workspace", "--locked", "--no-fail-fast"])?;
    for test in LONG_TESTS {
        tests.args(["--test", test]);
    }
    step::run(
        "running tests in their long form",
        tests.env("AGENTVM_SOAK", "1"),
    )?;
    if args.minutes == 0 {
        return Ok(());
    }
    let cargo_fuzz = cargo_fuzz()?;
    for target in TARGETS {
        let seconds = args.minutes.saturating_mul(60);
        let mut fuzz = Command::new(&cargo_fuzz);
        fuzz.args(["fuzz", "run", "--sanitizer", "none", target])
            .args(["--", &format!("-max_total_time={seconds}")])
            .current_dir(step::root()?)
            // Coverage is an unstable flag of the compiler that the project pins.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_TARGET_DIR", step::cache()?.join("fuzz"));
        step::run(
            &format!("fuzzing {target} for {} minutes", args.minutes),
            &mut fuzz,
        )?;
    }
    Ok(())
}

/// cargo-fuzz from crates.io, installed into the cache once.
fn cargo_fuzz() -> anyhow::Result<PathBuf> {
    let root = step::cache()?.join(format!("cargo-fuzz-{CARGO_FUZZ}"));
    let program = root.join("bin/cargo-fuzz");
    if !program.exists() {
        let mut install = step::cargo(["install", "cargo-fuzz", "--locked", "--version"])?;
        install.arg(CARGO_FUZZ).arg("--root").arg(&root);
        // Outside of the repository its settings for static programs don't hold.
        install.current_dir(step::cache()?);
        step::run("installing cargo-fuzz from crates.io", &mut install)?;
    }
    Ok(program)
}
