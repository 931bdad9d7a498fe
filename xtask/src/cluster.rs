//! `cargo xtask cluster`: a real Kubernetes node to try things on.

use std::process::Command;

use crate::image::{self, Profile};
use crate::machine::{self, Source, Tool};
use crate::step;

/// What `cargo xtask cluster` does.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum ClusterCommand {
    /// Starts a node with our image on it. Needs root.
    Up,
    /// Ends it and everything on it.
    Down,
    /// Runs a command in its network, with kubectl, helm and a kubeconfig at hand.
    #[command(trailing_var_arg = true)]
    Run {
        /// Such as `kubectl get nodes`.
        #[arg(required = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
}

/// What a real node takes that neither Rust nor Go brings.
pub(crate) const TOOLS: [Tool; 6] = [
    debian("containerd", "containerd", "runs containers"),
    debian("runc", "runc", "runs one container"),
    debian("ip", "iproute2", "makes the node's network"),
    debian("iptables", "iptables", "makes Services reachable"),
    Tool {
        program: "/usr/lib/cni/bridge",
        purpose: "gives Pods a network",
        source: Source::Debian("containernetworking-plugins"),
    },
    debian("nsenter", "util-linux", "enters the node's namespaces"),
];

const fn debian(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool {
        program,
        purpose,
        source: Source::Debian(package),
    }
}

/// Starts, ends or enters the node.
pub(crate) fn cluster(command: &ClusterCommand) -> anyhow::Result<()> {
    match command {
        ClusterCommand::Up => up(),
        ClusterCommand::Down => step::run("ending the node", helper()?.arg("down")),
        ClusterCommand::Run { command } => run(command),
    }
}

fn up() -> anyhow::Result<()> {
    machine::provide(&[machine::GO])?;
    machine::provide(&TOOLS)?;
    let programs = image::build(Profile::Dev)?;
    step::run(
        "starting a node (the first time, Kubernetes is built: some minutes)",
        helper()?.arg("up").arg(programs),
    )
}

/// Ends with the command's own exit code, and says nothing beside it.
fn run(words: &[String]) -> anyhow::Result<()> {
    let status = helper()?.arg("run").args(words).status()?;
    std::process::exit(status.code().unwrap_or(1));
}

/// The program of the tests' that knows nodes.
fn helper() -> anyhow::Result<Command> {
    let mut helper = Command::new(step::built("cluster")?);
    helper
        .current_dir(step::root()?)
        .env("AGENTVM_CACHE", step::cache()?);
    Ok(helper)
}
