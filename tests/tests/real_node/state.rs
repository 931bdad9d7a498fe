//! Compiled code that is kept on the node, as `docs/install.md` says.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;

use agentvm_tests::Result;
use agentvm_tests::real_node::stage::{SYSTEM, Stage};
use anyhow::{Context as _, ensure};

/// The user of our image.
const USER: u32 = 65532;

/// Prepares the directory as the docs say, and gives the value that makes use of it. From now on
/// the namespace can't enforce the restricted standard.
pub(crate) fn prepare(stage: &Stage) -> Result<String> {
    let folder = folder(stage);
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    chown(&folder, Some(USER), Some(USER))?;
    let label = "pod-security.kubernetes.io/enforce=privileged";
    stage.kubectl(&["label", "--overwrite", "namespace", SYSTEM, label])?;
    Ok(format!(
        "node.state.type=hostPath,node.state.hostPath={}",
        folder.display()
    ))
}

pub(crate) fn state_on_the_host_outlives_its_pods(stage: &Stage) -> Result<()> {
    let code = folder(stage).join("code");
    let engines = folders(&code)?;
    let engine = engines.first().context("a folder of an engine's code")?;
    let entries = fs::read_dir(engine)?.count();
    let facts = fs::metadata(&code)?;
    assert_eq!((facts.uid(), facts.mode() & 0o777), (USER, 0o700));
    // Each entry is compiled once: what this pod did not compile, one before it did.
    let metrics = stage.metrics()?;
    let compiled = metrics.lines().find_map(|line| {
        let count = line.strip_prefix("agentvm_compiles_total{outcome=\"succeeded\"} ");
        count?.parse::<usize>().ok()
    });
    let compiled = compiled.context("a count of compilations")?;
    ensure!(
        compiled < entries,
        "{compiled} compiled by this pod, {entries} kept in {}",
        engine.display()
    );
    Ok(())
}

fn folder(stage: &Stage) -> PathBuf {
    stage.node.dir().join("state-on-the-host")
}

fn folders(within: &std::path::Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(within).with_context(|| within.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}
