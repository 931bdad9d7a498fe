//! `agentvm run`: the standalone path.

use std::process::ExitCode;

/// Flags of `agentvm run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {}

/// Runs the VMs of a manifest and returns the guest's exit code.
pub(crate) fn run(_args: RunArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`agentvm run` is not built into this version")
}
