//! What `GitOps` pipelines see: Argo CD's health check, kstatus and `kubectl wait` in every phase,
//! applies that leave no diff, and examples that the tools' own schemas accept.

mod examples;
mod health;
mod statuses;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agentvm_tests::control_plane::ControlPlane;
use agentvm_tests::{Result, cluster, crd, go_module};
use anyhow::Context as _;

/// The CRDs of the tools whose objects the examples hold: module and folder.
const TOOLS: [(&str, &str); 4] = [
    (
        "github.com/fluxcd/source-controller@v1.7.0",
        "config/crd/bases",
    ),
    (
        "github.com/fluxcd/helm-controller@v1.4.0",
        "config/crd/bases",
    ),
    (
        "github.com/fluxcd/kustomize-controller@v1.7.3",
        "config/crd/bases",
    ),
    ("github.com/argoproj/argo-cd/v2@v2.14.0", "manifests/crds"),
];

/// A control plane with our CRDs and those of the tools; nobody guards a status here.
fn plane() -> Result<&'static ControlPlane> {
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    let plane = PLANE.get_or_init(|| start().map_err(|error| format!("{error:?}")));
    plane.as_ref().map_err(|error| anyhow::anyhow!("{error}"))
}

fn start() -> Result<ControlPlane> {
    let plane = cluster::install("gitops", &["crds/yaml"])?;
    for (module, folder) in TOOLS {
        let folder = go_module::yaml_files(module, folder)?;
        let mut crds: Vec<PathBuf> = fs::read_dir(&folder)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        crds.retain(|path| !path.ends_with("kustomization.yaml"));
        assert!(!crds.is_empty(), "{module} has CRDs");
        for crd in crds {
            plane
                .kubectl
                .run(&["apply", "--server-side", "-f", text(&crd)?])?
                .done()?;
        }
    }
    crd::wait_until_established(&plane)?;
    Ok(plane)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path is UTF-8")
}
