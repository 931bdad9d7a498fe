//! `cargo xtask crds`: writes the CRDs from the Rust types.

use crate::step;

/// Runs the generator of the `crds` crate, which writes into `crds/yaml` and into the chart.
pub(crate) fn crds() -> anyhow::Result<()> {
    let mut generator = step::cargo([
        "run",
        "--quiet",
        "--package",
        "agentvm-crds",
        "--bin",
        "agentvm-crdgen",
    ])?;
    step::run(
        "writing the CRDs into crds/yaml and charts/agentvm/crds",
        &mut generator,
    )
}
