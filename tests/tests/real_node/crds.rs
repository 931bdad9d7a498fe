//! CRDs that an upgrade brings to date, by the chart's own job.

use agentvm_tests::Result;
use agentvm_tests::real_node::stage::Stage;
use anyhow::ensure;

const CRD: &str = "customresourcedefinition/agentvms.agentvm.dev";

pub(crate) fn an_upgrade_brings_older_crds_to_date(stage: &Stage) -> Result<()> {
    let older = "agentvm.dev/version=0.0.1";
    stage.kubectl(&["annotate", "--overwrite", CRD, older])?;
    let before = stage.node_pod()?;
    let chart = Stage::chart();
    let upgrade = ["upgrade", "agentvm", &chart, "--reuse-values"];
    stage.helm(&[upgrade.as_slice(), &["--wait", "--timeout", "120s"]].concat())?;
    let path = r"jsonpath={.metadata.annotations.agentvm\.dev/version}";
    let version = stage.kubectl(&["get", CRD, "--output", path])?;
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let kinds = "jobs,clusterroles,clusterrolebindings,serviceaccounts";
    let left = stage.kubectl(&["get", kinds, "--all-namespaces", "--output=name"])?;
    ensure!(
        !left.contains("agentvm-crds"),
        "its rights went with it: {left}"
    );
    let after = stage.node_pod()?;
    let uid = |pod: &serde_json::Value| pod.pointer("/metadata/uid").cloned();
    ensure!(
        uid(&before) == uid(&after),
        "the node's pod was not touched"
    );
    Ok(())
}
