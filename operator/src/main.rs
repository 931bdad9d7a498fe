//! `agentvm-operator`: parse, wire, run.

use std::process::ExitCode;

use agentvm_operator::run::run;
use agentvm_operator::settings::{LogFormat, Settings};
use anyhow::Context as _;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> ExitCode {
    match operate().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line, the last of the container's log: `kubectl describe pod` shows it as well.
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn operate() -> anyhow::Result<()> {
    let settings = Settings::parse();
    let filter = EnvFilter::try_new(&settings.log)
        .with_context(|| format!("--log {:?} is no filter", settings.log))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Compact => log.compact().init(),
    }
    // Fails only where one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    run(settings).await
}
