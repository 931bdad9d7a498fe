//! `agentvm-node-agent`: runs the `AgentVM`s that are assigned to one node.

use std::process::ExitCode;

use agentvm_node_agent::{cluster, flags::Flags};
use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, the last of the container's log: `kubectl describe pod` shows it as well.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> anyhow::Result<()> {
    let flags = Flags::parse();
    let filter =
        EnvFilter::try_from_env("AGENTVM_LOG").unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_other| anyhow::anyhow!("another TLS provider is installed"))?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no runtime for tasks")?
        .block_on(until_told(flags))
}

/// Runs until SIGTERM or SIGINT.
async fn until_told(flags: Flags) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    cluster::run(flags, told)
        .await
        .context("the node agent ends")
}
