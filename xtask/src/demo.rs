//! `cargo xtask demo`: a program that works, then two that misbehave, without a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::{machine, step};

/// Flags of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Builds everything and shows nothing.
    #[arg(long)]
    build_only: bool,
}

/// One act of the demo: a manifest, the guest that it names, and how its run should end.
struct Act {
    title: &'static str,
    manifest: &'static str,
    guest: &'static str,
    /// `agentvm run --help` says what each means.
    exit_codes: &'static [i32],
}

const ACTS: [Act; 3] = [
    Act {
        title: "An agent works on what it is given: an incident log, from a ConfigMap",
        manifest: "agent.yaml",
        guest: "detective",
        exit_codes: &[0],
    },
    Act {
        title: "A program snoops around, finds nothing, and then spins until its fuel is used up",
        manifest: "misbehaving-spin.yaml",
        guest: "rogue",
        exit_codes: &[152],
    },
    Act {
        title: "A program takes memory without end, and is given no more than its limit",
        manifest: "misbehaving-memory.yaml",
        guest: "rogue",
        // The limit's own code, or Go's where it notices in time.
        exit_codes: &[137, 2],
    },
];

/// Builds the CLI and the guests, and plays every act.
pub(crate) fn demo(args: &DemoArgs) -> anyhow::Result<()> {
    machine::provide(&[machine::GO])?;
    let agentvm = build_cli()?;
    if args.build_only {
        build_guests()?;
        return Ok(());
    }
    show(&agentvm)?;
    eprintln!(
        "\nThe manifests are in examples/, the programs in examples/guests/. What to try next: README.md."
    );
    Ok(())
}

/// Builds the guests and plays every act with the given `agentvm` command.
///
/// # Errors
/// Where an act does not end as it should.
pub(crate) fn show(agentvm: &Path) -> anyhow::Result<()> {
    let guests = build_guests()?;
    ACTS.iter().try_for_each(|act| play(act, agentvm, &guests))
}

fn build_cli() -> anyhow::Result<PathBuf> {
    let mut build = step::cargo(["build", "--package", "agentvm"])?;
    step::run(
        "building the agentvm command (the first time takes some minutes: it brings a compiler)",
        &mut build,
    )?;
    step::built("agentvm")
}

/// Builds every program of `examples/guests` into the cache, as `<name>.wasm`.
fn build_guests() -> anyhow::Result<PathBuf> {
    let sources = step::root()?.join("examples").join("guests");
    let folder = step::cache()?.join("guests").join("examples");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    for name in ["hello", "detective", "rogue", "echo"] {
        let mut build = Command::new("go");
        build
            .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(folder.join(format!("{name}.wasm")))
            .arg(format!("./{name}"))
            .current_dir(&sources)
            .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")]);
        step::run(&format!("building the guest `{name}` with Go"), &mut build)?;
    }
    Ok(folder)
}

fn play(act: &Act, agentvm: &Path, guests: &Path) -> anyhow::Result<()> {
    let manifest = format!("examples/{}", act.manifest);
    let wasm = guests.join(format!("{}.wasm", act.guest));
    let module = format!("localhost:5000/{}:v1={}", act.guest, wasm.display());
    eprintln!(
        "\n--- {}\n$ agentvm run -f {manifest} --module {module}\n",
        act.title
    );
    let status = Command::new(agentvm)
        .args(["run", "-f", &manifest, "--module", &module])
        .current_dir(step::root()?)
        .status()
        .with_context(|| format!("cannot start {}", agentvm.display()))?;
    eprintln!("\n    ended with {status}");
    let expected = status
        .code()
        .is_some_and(|code| act.exit_codes.contains(&code));
    anyhow::ensure!(
        expected,
        "`agentvm run -f {manifest}` should have ended with one of {:?}",
        act.exit_codes
    );
    Ok(())
}
