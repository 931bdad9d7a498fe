//! `agentvm-bench`: every figure that the project promises, beside its peers, in one run.
//!
//! Each suite is one module; the rows of all of them are one table. A figure alone says little
//! on a noisy machine: read the ratios.

mod cluster;
mod files;
mod group;
mod in_process;
mod node;
mod peers;
mod report;
mod resident;
mod samples;
mod socket;
mod suites;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

/// Measures AgentVM against peers in the same run.
#[derive(Debug, Parser)]
struct Args {
    /// Writes the rows as JSON to this file as well.
    #[arg(long, env = "AGENTVM_BENCH_JSON")]
    json: Option<PathBuf>,
    /// Runs only these suites.
    #[arg(long, value_enum)]
    only: Vec<suites::Suite>,
    /// Prints what a file of this many bytes takes of memory: how one row is measured.
    #[arg(long, hide = true)]
    weigh: Option<usize>,
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(bytes) = args.weigh {
        println!("{}", files::weigh(bytes)?);
        return Ok(());
    }
    let rows = suites::run(&args.only)?;
    println!("{}", report::table(&rows));
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(())
}
