//! The project's own chores: `cargo xtask <command>`.
//!
//! One file for each command. This crate stays small, so that the first build takes seconds:
//! whatever needs our own crates is a binary of theirs that a command runs.

mod bench;
mod cluster;
mod crds;
mod demo;
mod image;
mod machine;
mod mutants;
mod soak;
mod step;
mod test;

use clap::Parser;

/// Chores of the AgentVM repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Builds what it needs and shows a program that works and one that misbehaves.
    Demo(demo::DemoArgs),
    /// Installs what tests need, then runs every check that CI runs.
    Test(test::TestArgs),
    /// Runs tests in their long form, then the fuzzers.
    Soak(soak::SoakArgs),
    /// Measures every promised figure beside its peers.
    Bench(bench::BenchArgs),
    /// Builds one static image with every program, without a container daemon.
    Image(image::ImageArgs),
    /// A real Kubernetes node to try things on.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Writes the CRDs from the Rust types into `crds/yaml`.
    Crds,
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Demo(args) => demo::demo(&args),
        Command::Test(args) => test::test(&args),
        Command::Soak(args) => soak::soak(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Image(args) => image::image(&args),
        Command::Cluster(command) => cluster::cluster(&command),
        Command::Crds => crds::crds(),
    }
}
