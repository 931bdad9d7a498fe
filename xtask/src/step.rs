//! One step of a chore: a line that says what happens, then a program that does it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

/// The root of the repository.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(xtask
        .parent()
        .context("xtask has no parent folder")?
        .to_owned())
}

/// The folder for everything that is built or downloaded once: `$AGENTVM_CACHE`, or
/// `~/.cache/agentvm`.
pub(crate) fn cache() -> anyhow::Result<PathBuf> {
    if let Some(cache) = std::env::var_os("AGENTVM_CACHE") {
        return Ok(PathBuf::from(cache));
    }
    let home = std::env::var_os("HOME").context("neither AGENTVM_CACHE nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache").join("agentvm"))
}

/// The folder of build products: `$CARGO_TARGET_DIR`, or `target` in the cache.
pub(crate) fn target_dir() -> anyhow::Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(PathBuf::from(folder)),
        None => Ok(cache()?.join("target")),
    }
}

/// The path of a program of the workspace, once `cargo build` has made it.
pub(crate) fn built(program: &str) -> anyhow::Result<PathBuf> {
    Ok(built_as("debug")?.join(program))
}

/// The folder of what `cargo build` makes by a profile: `debug` or `release`.
pub(crate) fn built_as(profile: &str) -> anyhow::Result<PathBuf> {
    Ok(target_dir()?.join(host()?).join(profile))
}

/// This machine as Rust names it. `.cargo/config.toml` builds for it by name.
fn host() -> anyhow::Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output()?;
    let facts = String::from_utf8(output.stdout)?;
    let host = facts.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// `cargo` in the root of the repository, building into [`target_dir`].
pub(crate) fn cargo<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(args)
        .current_dir(root()?)
        .env("CARGO_TARGET_DIR", target_dir()?);
    // What `cargo xtask` says about itself is nothing to the cargo that it starts.
    // Build scripts that look at such variables would run again whenever somebody else builds.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    Ok(command)
}

/// Writes a line about what happens now to stderr.
pub(crate) fn say(text: &str) {
    eprintln!("==> {text}");
}

/// Says `what`, runs `command` to its end and says how long it took.
///
/// # Errors
/// Where the command cannot be started or does not end well.
pub(crate) fn run(what: &str, command: &mut Command) -> anyhow::Result<()> {
    say(what);
    let started = Instant::now();
    let status = command
        .status()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    anyhow::ensure!(
        status.success(),
        "{what}: `{}` ended with {status}",
        shown(command)
    );
    eprintln!("    done in {:.1} s", started.elapsed().as_secs_f32());
    Ok(())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}
