//! The `agentvm-cell` binary: warden, cell and compiler.

use std::process::ExitCode;

use agentvm_cell::Command;
use clap::Parser;

/// Runs sandboxed programs on one node: the warden and what it starts.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    match agentvm_cell::run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, the last of the container's log: `kubectl describe pod` shows it as well.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
