//! `agentvm validate`: what a cluster would say to a manifest, without a cluster.

mod judge;
mod report;

pub(crate) use judge::Cluster;
pub(crate) use report::Problem;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::manifest;
use crate::print::{self, Output};

/// Flags of `agentvm validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    /// The manifests to check; `-` is stdin. AgentPolicies, Namespaces and ConfigMaps in them
    /// stand for the cluster's.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// The namespace of objects that name none.
    #[arg(short, long, env = "AGENTVM_NAMESPACE", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    output: Output,
}

/// Checks every object of the files; the exit code is 1 where one is refused.
pub(crate) fn validate(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let documents = manifest::read(&args.files)?;
    anyhow::ensure!(!documents.is_empty(), "the files hold no object");
    let report = judge::judge(&documents, &args.namespace);
    print::answer(args.output, &report, ToString::to_string)?;
    Ok(if report.accepted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
