//! `agentvm`, also as `kubectl-agentvm`: runs, pushes and checks agent VMs from a shell.

mod cluster;
mod command;
mod completion;
mod manifest;
mod print;
mod push;
mod run;
mod validate;
mod version;
mod why;

use std::process::ExitCode;

use command::{Command, Invocation};

fn main() -> ExitCode {
    let invocation = Invocation::from_env();
    match perform(invocation) {
        Ok(code) => code,
        Err(error) => {
            print::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn perform(invocation: Invocation) -> anyhow::Result<ExitCode> {
    match invocation.command {
        Command::Run(args) => run::run(&args),
        Command::Push(args) => push::push(&args),
        Command::Validate(args) => validate::validate(&args),
        Command::Why(args) => why::why(&args),
        Command::Version(args) => version::version(&args),
        Command::Completion(args) => completion::completion(&args, invocation.program),
        Command::Cluster(args) => cluster::cluster(args),
        Command::Gateway(settings) => {
            run::tie_to_parent()?;
            Ok(agentvm_gateway::run(&settings).map(|()| ExitCode::SUCCESS)?)
        }
        Command::Process(process) => {
            run::tie_to_parent()?;
            agentvm_cell::run(process).map(|()| ExitCode::SUCCESS)
        }
    }
}
