//! The processes around the runtime: warden, cells and compilers.
//!
//! | process | input | output | ends when |
//! | --- | --- | --- | --- |
//! | [`warden`] | HTTP on `warden.sock` | cells, compiled code | SIGTERM, after its cells |
//! | [`cell`] | HTTP on the listener that the warden passes; code and log files over its stdin | log lines on stdout | the warden says so or is gone |
//! | [`compile`] | one module over its stdin | its code | it is done, or over its limits |
//!
//! The warden starts the other two as `/proc/self/exe`, with an empty environment; both enter
//! the same [`jail`] before they read a guest's byte.

pub mod archive;
pub mod cell;
pub mod compile;
mod control;
mod guards;
pub mod jail;
mod refusal;
pub mod warden;

use clap::Subcommand;

/// The three processes, as hidden subcommands of whatever binary the warden runs from.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts and jails cells and compilers, and keeps the compiled code.
    Warden(warden::Settings),
    /// Runs the VMs of one namespace. Started by the warden only.
    #[command(hide = true)]
    Cell(cell::Settings),
    /// Compiles one module. Started by the warden only.
    #[command(hide = true)]
    Compile(compile::Settings),
}

/// Runs one of the processes until it ends.
pub fn run(command: Command) -> anyhow::Result<()> {
    log_to_stderr();
    match command {
        Command::Warden(settings) => warden::run(settings)?,
        Command::Cell(settings) => cell::run(&settings)?,
        Command::Compile(settings) => compile::run(&settings)?,
    }
    Ok(())
}

/// Logs as JSON lines on stderr; a cell's environment is empty, so its level is the default.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("AGENTVM_LOG")
        .unwrap_or_else(|_unset| tracing_subscriber::EnvFilter::new("info"));
    // An embedding process may have set its own subscriber; then that one holds.
    let _already_set = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .try_init();
}
