//! `cargo xtask crds`: writes the CRDs from the Rust types.

use crate::step;

/// Runs the generator of the `crds` crate, which writes into `crds/yaml`.
pub(crate) fn crds() -> anyhow::Result<()> {
    let folder = step::root()?.join("crds").join("yaml");
    let mut generator = step::cargo([
        "run",
        "--quiet",
        "--package",
        "agentvm-crds",
        "--bin",
        "agentvm-crdgen",
        "--",
    ])?;
    step::run(
        &format!("writing the CRDs into {}", folder.display()),
        generator.arg(folder),
    )
}
