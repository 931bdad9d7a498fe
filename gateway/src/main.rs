//! The `agentvm-gateway` binary.

use std::process::ExitCode;

use agentvm_gateway::Settings;
use clap::Parser;

/// Carries the requests of one node's VMs to hosts outside, as far as they may.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    match agentvm_gateway::run(&Arguments::parse().settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, the last of the container's log: `kubectl describe pod` shows it as well.
            eprintln!("Error: {}", agentvm_gateway::chain(&error));
            ExitCode::FAILURE
        }
    }
}
