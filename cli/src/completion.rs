//! `agentvm completion`: the completion script of a shell.

use std::process::ExitCode;

use clap_complete::Shell;

use crate::command::{Program, definition};
use crate::print;

/// Flags of `agentvm completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionArgs {
    /// The shell that shall complete.
    shell: Shell,
}

/// Prints the completion script of a shell, for `source <(agentvm completion bash)`.
pub(crate) fn completion(args: &CompletionArgs, program: Program) -> anyhow::Result<ExitCode> {
    let file_name = match program {
        Program::Agentvm => "agentvm",
        Program::KubectlPlugin => "kubectl-agentvm",
    };
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut shown(program), file_name, &mut script);
    print::out(&String::from_utf8(script)?);
    Ok(ExitCode::SUCCESS)
}

/// The definition without its hidden commands, which the generators would complete too.
fn shown(program: Program) -> clap::Command {
    let all = definition(program);
    let shown = all
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    clap::Command::new("agentvm")
        .version(env!("CARGO_PKG_VERSION"))
        .subcommands(shown.cloned())
}
