//! `agentvm validate`: what a cluster would say to a manifest, without a cluster.

use std::path::PathBuf;
use std::process::ExitCode;

/// Flags of `agentvm validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    /// The manifests to check; `-` is stdin.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

/// Checks every object of the files.
pub(crate) fn validate(_args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not there yet")
}
