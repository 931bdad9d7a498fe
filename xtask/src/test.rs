//! `cargo xtask test`: every check that CI runs, in the order in which they fail fastest.

use std::process::Command;

use crate::machine::{self, Source, Tool};
use crate::{cluster, demo, mutants, step};

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
const TOOLS: [Tool; 11] = [
    machine::GO,
    debian("cc", "build-essential", "links Rust programs"),
    debian("git", "git", "lists the files of the repository"),
    debian("curl", "curl", "tries the socket API as it is documented"),
    debian(
        "openssl",
        "openssl",
        "makes the certificates of the test cluster",
    ),
    debian(
        "setpriv",
        "util-linux",
        "ends processes with the test that started them",
    ),
    debian("docker-registry", "docker-registry", "a real OCI registry"),
    debian("promtool", "prometheus", "checks our metrics"),
    debian("lua5.1", "lua5.1", "runs Argo CD's health check"),
    debian("diff", "diffutils", "is what kubectl diff calls"),
    debian("pip3", "python3-pip", "fetches guests from PyPI"),
];

const fn debian(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool {
        program,
        purpose,
        source: Source::Debian(package),
    }
}

/// Prepares the machine and runs every check.
pub(crate) fn test(args: &TestArgs) -> anyhow::Result<()> {
    machine::provide(&TOOLS)?;
    machine::provide(&cluster::TOOLS)?;
    check_sources()?;
    prepare()?;
    if args.prepare_only {
        return Ok(());
    }
    run_tests(&args.test_args)?;
    step::say("playing the demo");
    demo::show(&step::built("agentvm")?)?;
    mutants::run()?;
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
    let mut controlplane = Command::new(step::built("build-controlplane")?);
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

/// A crate's front page may name its private modules: whoever reads it has the source.
fn check_docs() -> anyhow::Result<()> {
    let mut docs = step::cargo(["doc", "--workspace", "--no-deps", "--locked"])?;
    docs.env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    );
    step::run("building the documentation", &mut docs)
}
