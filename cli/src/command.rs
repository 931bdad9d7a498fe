//! The command line: which subcommands there are, and under which name we were called.

use std::ffi::OsStr;
use std::path::Path;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cluster::ClusterArgs;
use crate::completion::CompletionArgs;
use crate::push::PushArgs;
use crate::run::RunArgs;
use crate::validate::ValidateArgs;
use crate::version::VersionArgs;
use crate::why::WhyArgs;

/// Runs untrusted programs, each in its own sandbox, denied everything that its manifest
/// and the policies do not both allow.
#[derive(Debug, Parser)]
#[command(name = "agentvm", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the user asks for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the AgentVMs of a manifest on this machine, without a cluster.
    Run(RunArgs),
    /// Pushes a WebAssembly file to an OCI registry and prints its digest reference.
    Push(PushArgs),
    /// Checks manifests without a cluster: schema, rules, and what the policies would grant.
    Validate(ValidateArgs),
    /// Says which rule or policy allows or refuses a request to the network, without a cluster.
    Why(WhyArgs),
    /// Prints the version.
    Version(VersionArgs),
    /// Prints the completion script of a shell.
    Completion(CompletionArgs),
    /// The chores of the Helm chart's own pods.
    Cluster(ClusterArgs),
    /// Carries the requests of the VMs that `run` runs to hosts outside.
    Gateway(agentvm_gateway::Settings),
    /// The processes that `run` starts from this same binary.
    #[command(flatten)]
    Process(agentvm_cell::Command),
}

/// The name under which we were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// `agentvm`.
    Agentvm,
    /// `kubectl-agentvm`, which kubectl calls for `kubectl agentvm`.
    KubectlPlugin,
}

impl Program {
    fn of(argv0: &OsStr) -> Self {
        match Path::new(argv0).file_stem() {
            Some(name) if name == "kubectl-agentvm" => Self::KubectlPlugin,
            _ => Self::Agentvm,
        }
    }

    /// What a person types to call us.
    pub(crate) const fn typed(self) -> &'static str {
        match self {
            Self::Agentvm => "agentvm",
            Self::KubectlPlugin => "kubectl agentvm",
        }
    }
}

/// One call of the program.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The name it was called by.
    pub(crate) program: Program,
    /// What it was asked for.
    pub(crate) command: Command,
}

impl Invocation {
    /// Parses the process's arguments; ends the process with code 2 where they are wrong.
    pub(crate) fn from_env() -> Self {
        let argv0 = std::env::args_os().next().unwrap_or_default();
        let program = Program::of(&argv0);
        let matches = definition(program).get_matches();
        let Cli { command } = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        Self { program, command }
    }
}

/// The definition of every flag, as `program` shows it. Nobody types the processes that
/// `run` starts or the chores of the chart's pods, so they are not shown.
pub(crate) fn definition(program: Program) -> clap::Command {
    let hide = |process: clap::Command| process.hide(true);
    Cli::command()
        .bin_name(program.typed())
        .mut_subcommand("cluster", hide)
        .mut_subcommand("gateway", hide)
        .mut_subcommand("warden", hide)
        .mut_subcommand("cell", hide)
        .mut_subcommand("compile", hide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_consistent() {
        definition(Program::Agentvm).debug_assert();
    }

    #[test]
    fn kubectl_plugin_is_recognised_by_its_file_name_alone() {
        for (argv0, program) in [
            ("agentvm", Program::Agentvm),
            ("/usr/local/bin/agentvm", Program::Agentvm),
            ("kubectl-agentvm", Program::KubectlPlugin),
            ("/opt/kubectl-agentvm/agentvm", Program::Agentvm),
            ("", Program::Agentvm),
        ] {
            assert_eq!(Program::of(OsStr::new(argv0)), program, "{argv0}");
        }
    }
}
