//! `agentvm-fuzz-modules`: runs arbitrary modules, by number or by time.

use std::path::PathBuf;
use std::time::Duration;

use agentvm_fuzz_modules::{Module, Settings, Tally, bytes, soak};
use anyhow::{Context as _, Result};
use clap::Parser;

/// Runs arbitrary valid modules in VMs under limits, compares with another engine, and stops at
/// the first that does what none may.
#[derive(Debug, Parser)]
struct Args {
    /// The first seed: each module has its own, one after the other.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The most modules.
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// For how many seconds modules are begun.
    #[arg(long, default_value_t = u32::MAX)]
    seconds: u32,
    /// Threads; as many as there are cores where it is not said.
    #[arg(long)]
    jobs: Option<usize>,
    /// Writes the module of the first seed to this file before it is run.
    #[arg(long)]
    write: Option<PathBuf>,
}

#[expect(clippy::print_stdout, reason = "the tally is what the program is for")]
fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(path) = &args.write {
        let module = Module::of(&bytes(args.seed)).context("the seed makes no module")?;
        std::fs::write(path, &module.wasm).with_context(|| path.display().to_string())?;
    }
    let jobs = match args.jobs {
        Some(jobs) => jobs,
        None => std::thread::available_parallelism()?.get(),
    };
    let tally = soak(Settings {
        seed: args.seed,
        count: args.count,
        time: Duration::from_secs(args.seconds.into()),
        jobs,
        progress,
    })?;
    println!("{tally}");
    Ok(())
}

fn progress(seen: &Tally) {
    let (seconds, mib) = (seen.took.as_secs(), seen.resident_mib);
    eprintln!(
        "    {} modules in {seconds} s so far, {mib} MiB",
        seen.modules
    );
}
