//! `agentvm why`: which rule or policy allows a request or refuses it, without a cluster.

mod judge;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::manifest;
use crate::print::{self, Output};

/// Flags of `agentvm why`.
#[derive(Debug, clap::Args)]
pub(crate) struct WhyArgs {
    /// A manifest with the AgentVM, and others with AgentPolicies and Namespaces, which stand for
    /// the cluster's; `-` is stdin. May be given several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The AgentVM, by its name, where the files hold several.
    #[arg(long, value_name = "NAME")]
    vm: Option<String>,
    /// The namespace of objects that name none.
    #[arg(short, long, env = "AGENTVM_NAMESPACE", default_value = "default")]
    namespace: String,
    /// The request's method, such as GET.
    method: String,
    /// The request's URL, such as `https://api.example.com/v1/models`.
    url: String,
    #[command(flatten)]
    output: Output,
}

/// What the exit code is where files or request can't be read.
const BAD_INPUT: u8 = 2;

/// Says what becomes of one request: the exit code is 0 where it is allowed, 1 where it is denied
/// and 2 where that can't be told.
pub(crate) fn why(args: &WhyArgs) -> anyhow::Result<ExitCode> {
    let answer = match answer(args) {
        Ok(answer) => answer,
        Err(error) => {
            print::error(&error);
            return Ok(ExitCode::from(BAD_INPUT));
        }
    };
    print::answer(args.output, &answer, ToString::to_string)?;
    Ok(if answer.allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn answer(args: &WhyArgs) -> anyhow::Result<report::Answer> {
    let documents = manifest::read(&args.files)?;
    let asked = judge::Asked {
        vm: args.vm.as_deref(),
        namespace: &args.namespace,
        method: &args.method,
        url: &args.url,
    };
    Ok(judge::judge(&documents, &asked)?)
}
