//! Puts the programs that were built beside this one into a container image.

use std::path::PathBuf;

use agentvm_tests::image;
use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let usage = "usage: build-image FOLDER_OF_PROGRAMS REFERENCE OUTPUT";
    let (folder, reference, output) = (args.next(), args.next(), args.next());
    let folder = PathBuf::from(folder.context(usage)?);
    let reference = reference.context(usage)?;
    let output = PathBuf::from(output.context(usage)?);
    let written = image::image(&reference.to_string_lossy(), &folder)?.write(&output)?;
    say(&format!(
        "{}\n{} ({} MB, {} MB unpacked)",
        output.display(),
        written.digest,
        written.layer_bytes / 1_000_000,
        written.unpacked_bytes / 1_000_000
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "its result")]
fn say(text: &str) {
    println!("{text}");
}
