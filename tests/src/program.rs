//! Programs of the machine that helpers call, with an error that says what to install.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail};

use crate::Result;

/// Runs `command` to its end and gives its standard output, or fails with all it said.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let output = output_of(command)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{} failed ({}): {}",
            shown(command),
            output.status,
            said.trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` to its end.
pub fn output_of(command: &mut Command) -> Result<Output> {
    let missing = missing(command.get_program());
    command.output().with_context(|| missing)
}

/// One sentence for the case that `program` is not there.
pub fn missing(program: &OsStr) -> String {
    let name = Path::new(program)
        .file_name()
        .unwrap_or(program)
        .to_string_lossy()
        .into_owned();
    let install = match name.as_str() {
        "openssl" => "run `apt-get install openssl`",
        "docker-registry" => "run `apt-get install docker-registry`",
        "promtool" => "run `apt-get install prometheus`",
        "setpriv" => "run `apt-get install util-linux`",
        "lua5.1" => "run `apt-get install lua5.1`",
        "curl" => "run `apt-get install curl`",
        "python3" => "run `apt-get install python3 python3-pip`",
        "go" => "install Go from https://go.dev/dl",
        "agentvm" | "agentvm-operator" | "agentvm-node-agent" | "agentvm-cell"
        | "agentvm-gateway" => "run `cargo build --workspace --bins`",
        _ => "see CONTRIBUTING.md for what tests need",
    };
    format!("could not run `{name}`: if it is not installed, {install}")
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(
        command
            .get_args()
            .map(|arg| arg.to_string_lossy().into_owned()),
    );
    words.join(" ")
}
