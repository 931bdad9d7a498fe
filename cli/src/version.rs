//! `agentvm version`: which build this is.

use std::process::ExitCode;

use serde::Serialize;

use crate::print::{self, Output};

/// Flags of `agentvm version`.
#[derive(Debug, clap::Args)]
pub(crate) struct VersionArgs {
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    api_version: String,
}

/// Prints the version of this binary and of the API that it understands.
pub(crate) fn version(args: &VersionArgs) -> anyhow::Result<ExitCode> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        api_version: format!("{}/v1alpha1", agentvm_crds::GROUP),
    };
    print::answer(args.output, &version, |it| {
        format!("agentvm {} ({})", it.version, it.api_version)
    })?;
    Ok(ExitCode::SUCCESS)
}
