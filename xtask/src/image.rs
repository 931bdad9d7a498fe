//! `cargo xtask image`: one static image with every program, as an OCI archive.

use std::path::PathBuf;
use std::process::Command;

use crate::machine::{self, Source, Tool};
use crate::step;

/// Flags of `cargo xtask image`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImageArgs {
    /// Where the archive goes. Default: image.tar among what is built.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How the programs are built: release takes minutes longer and is what users should get.
    #[arg(long, value_name = "PROFILE", value_enum, default_value = "release")]
    profile: Profile,
    /// The name under which the image is loaded: what the chart asks for by default.
    #[arg(long, value_name = "NAME", default_value = concat!("localhost/agentvm:", env!("CARGO_PKG_VERSION")))]
    reference: String,
}

/// A profile of Cargo's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// Built in no time where tests have run.
    Dev,
    /// Optimised.
    Release,
}

impl Profile {
    fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

const TOOLS: [Tool; 2] = [
    Tool {
        program: "strip",
        purpose: "takes debug information out of programs",
        source: Source::Debian("binutils"),
    },
    Tool {
        program: "gzip",
        purpose: "compresses the image",
        source: Source::Debian("gzip"),
    },
];

/// Builds the programs and writes the image.
pub(crate) fn image(args: &ImageArgs) -> anyhow::Result<()> {
    let programs = build(args.profile)?;
    let output = match &args.output {
        Some(output) => std::path::absolute(output)?,
        None => programs.join("image.tar"),
    };
    let mut write = Command::new(programs.join("build-image"));
    write
        .arg(&programs)
        .arg(&args.reference)
        .arg(&output)
        .current_dir(step::root()?)
        .env("AGENTVM_CACHE", step::cache()?);
    step::run(&format!("writing {}", output.display()), &mut write)
}

/// Builds every program and gives their folder.
pub(crate) fn build(profile: Profile) -> anyhow::Result<PathBuf> {
    machine::provide(&TOOLS)?;
    let mut build = step::cargo(["build", "--workspace", "--bins", "--locked"])?;
    if profile == Profile::Release {
        build.arg("--release");
    }
    step::run("building every program", &mut build)?;
    step::built_as(profile.folder())
}
