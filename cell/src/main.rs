//! The `agentvm-cell` binary: warden, cell and compiler.

use agentvm_cell::Command;
use clap::Parser;

/// Runs sandboxed programs on one node: the warden and what it starts.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> anyhow::Result<()> {
    agentvm_cell::run(Arguments::parse().command)
}
