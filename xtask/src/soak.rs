//! `cargo xtask soak`: the long forms of tests that run for seconds in CI, then the fuzzers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use crate::step;

/// The version of cargo-fuzz that is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";
/// The fuzz targets, in the order in which they run.
const TARGETS: [&str; 3] = ["files", "modules", "network"];
/// Seconds after which an input hangs, beside whatever else the machine does.
const HANGS_AFTER: u32 = 120;
/// Tests that look at `AGENTVM_SOAK`.
const LONG_TESTS: [&str; 5] = ["attacks", "decisions", "filesystem", "guests", "seeds"];

/// How long to look for what nobody thought of.
#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// Generated modules that are run in VMs and in another engine; some hundred a second.
    #[arg(long, default_value_t = 1_000_000)]
    modules: u64,
    /// The seed of the first of them: other seeds, other modules.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Minutes for each fuzz target; 0 runs none.
    #[arg(long, default_value_t = 10)]
    minutes: u32,
    /// Leaves out the tests in their long form, which take longest.
    #[arg(long)]
    skip_tests: bool,
}

/// Runs the long tests, the modules, then each fuzz target for its minutes; whatever one of them
/// finds, the others run as well.
pub(crate) fn soak(args: &SoakArgs) -> anyhow::Result<()> {
    let mut parts = Vec::new();
    if !args.skip_tests {
        parts.push(long_tests());
    }
    if args.modules > 0 {
        parts.push(modules(args));
    }
    if args.minutes > 0 {
        let cargo_fuzz = cargo_fuzz()?;
        parts.extend(TARGETS.map(|target| fuzz(&cargo_fuzz, target, args.minutes)));
    }
    let found: Vec<String> = parts
        .into_iter()
        .filter_map(Result::err)
        .map(|error| format!("{error:#}"))
        .collect();
    anyhow::ensure!(found.is_empty(), "found:\n{}", found.join("\n"));
    step::say("nothing was found");
    Ok(())
}

fn long_tests() -> anyhow::Result<()> {
    let mut tests = step::cargo(["test", "--workspace", "--locked", "--no-fail-fast"])?;
    for test in LONG_TESTS {
        tests.args(["--test", test]);
    }
    step::run(
        "running tests in their long form",
        tests.env("AGENTVM_SOAK", "1"),
    )
}

/// Runs a fuzz target, with all inputs that earlier runs learnt from.
fn fuzz(cargo_fuzz: &Path, target: &str, minutes: u32) -> anyhow::Result<()> {
    let (learnt, found) = (inputs("corpus", target)?, inputs("artifacts", target)?);
    let mut command = run_target(cargo_fuzz, target)?;
    command.arg(&learnt);
    let seeds = step::root()?.join("fuzz/seeds").join(target);
    if seeds.exists() {
        command.arg(seeds);
    }
    command.args([
        "--",
        &format!("-max_total_time={}", minutes.saturating_mul(60)),
        &format!("-timeout={HANGS_AFTER}"),
        &format!("-artifact_prefix={}/", found.display()),
    ]);
    let fuzzed = step::run(
        &format!("fuzzing {target} for {minutes} minutes"),
        &mut command,
    );
    fuzzed.with_context(|| {
        format!(
            "the input that it ended with is the newest in {found}; once more: RUSTC_BOOTSTRAP=1 \
             CARGO_TARGET_DIR={built} {cargo_fuzz} run --sanitizer none {target} FILE",
            found = found.display(),
            built = built().unwrap_or_default().display(),
            cargo_fuzz = cargo_fuzz.display(),
        )
    })
}

/// `cargo fuzz run` of a target, to which its folder of inputs or one input is added.
fn run_target(cargo_fuzz: &Path, target: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(cargo_fuzz);
    command
        .args(["run", "--sanitizer", "none", target])
        .current_dir(step::root()?)
        // Coverage is an unstable flag of the compiler that the project pins.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", built()?);
    Ok(command)
}

/// What the targets are built into: they are built with other flags than everything else.
fn built() -> anyhow::Result<PathBuf> {
    Ok(step::cache()?.join("fuzz"))
}

/// The folder for a target's inputs of a kind, outside of the checkout.
fn inputs(kind: &str, target: &str) -> anyhow::Result<PathBuf> {
    let folder = step::cache()?.join("fuzz-inputs").join(kind).join(target);
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Runs generated modules on every core, until one does what none may.
fn modules(args: &SoakArgs) -> anyhow::Result<()> {
    let build = ["build", "--workspace", "--bins", "--locked"];
    step::run("building every program", &mut step::cargo(build)?)?;
    let mut modules = Command::new(step::built("agentvm-fuzz-modules")?);
    modules
        .args(["--seed", &args.seed.to_string()])
        .args(["--count", &args.modules.to_string()])
        .current_dir(step::root()?);
    step::run(&format!("running {} modules", args.modules), &mut modules)
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
