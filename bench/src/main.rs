//! `agentvm-bench`: every figure that the project promises, beside its peers, in one run.
//!
//! Each suite is one module; the rows of all of them are one table. A figure alone says little
//! on a noisy machine: read the ratios.

mod cluster;
mod effort;
mod files;
mod group;
mod in_process;
mod metering;
mod neighbour;
mod network;
mod node;
mod peers;
mod report;
mod resident;
mod samples;
mod socket;
mod spin;
mod suites;
mod warden;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::effort::Effort;

/// Measures AgentVM against peers in the same run.
#[derive(Debug, Parser)]
struct Args {
    /// Writes the rows as JSON to this file as well.
    #[arg(long, env = "AGENTVM_BENCH_JSON")]
    json: Option<PathBuf>,
    /// Runs only these suites.
    #[arg(long, value_enum)]
    only: Vec<suites::Suite>,
    /// Does a twentieth of it, to see that the suites work: the figures say nothing.
    #[arg(long)]
    tried: bool,
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
    let effort = if args.tried {
        Effort::Tried
    } else {
        Effort::Whole
    };
    let rows = suites::run(&args.only, effort)?;
    println!("{}", report::table(&rows));
    if let Some(path) = args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&rows)?)?;
    }
    Ok(())
}
