//! A real warden, the cells that it starts, and its log.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::client::{CellClient, WardenClient};
use agentvm_cell_api::warden::Module;
use agentvm_policy::Grants;
use agentvm_tests::node::binary;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// How long anything may take here.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How often it is looked whether a VM has ended whose end is measured.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A warden's process; it ends with this, and its cells with it.
#[derive(Debug)]
pub(crate) struct Warden {
    child: Child,
    api: WardenClient,
}

impl Warden {
    /// Starts one with its files in `dir`, for cells of so many VMs; and what it prints.
    pub(crate) fn start(dir: &Path, vms_per_cell: u32) -> Result<(Self, ChildStdout)> {
        let path = |name: &str| -> Result<_> {
            let path = dir.join(name);
            fs::create_dir_all(&path)?;
            Ok(path)
        };
        let run_dir = path("run")?;
        let mut child = Command::new(binary("agentvm-cell")?)
            .arg("warden")
            .arg("--run-dir")
            .arg(&run_dir)
            .arg("--cache-dir")
            .arg(path("compiled")?)
            .arg("--log-dir")
            .arg(path("logs")?)
            .args(["--max-vms-per-cell", &vms_per_cell.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting the warden")?;
        let printed = child.stdout.take().context("stdout is piped")?;
        let api = WardenClient::new(run_dir.join("warden.sock"));
        Ok((Self { child, api }, printed))
    }

    /// The cell of a namespace, started where it is not there.
    pub(crate) async fn cell(&self, namespace: &str) -> Result<CellClient> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.api.start_cell(namespace).await {
                Ok(cell) => return Ok(CellClient::new(cell.socket)),
                Err(error) if Instant::now() >= end => {
                    return Err(error).context("the warden did not come up");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Compiles `wasm` into the warden's cache.
    pub(crate) async fn compile(&self, wasm: &[u8]) -> Result<Module> {
        compile(&self.api, None, wasm).await
    }

    /// What speaks to it.
    pub(crate) fn client(&self) -> WardenClient {
        self.api.clone()
    }
}

/// Has a warden compile `wasm` for a namespace.
pub(crate) async fn compile(
    warden: &WardenClient,
    namespace: Option<&str>,
    wasm: &[u8],
) -> Result<Module> {
    let sha256 = format!("{:x}", Sha256::digest(wasm));
    let bytes = Bytes::copy_from_slice(wasm);
    Ok(warden.put_module(namespace, &sha256, bytes).await?)
}

impl Drop for Warden {
    fn drop(&mut self) {
        // Fails only where it has ended already; its cells follow it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A VM of `module` without files.
pub(crate) fn spec(module: &Module, args: &[&str], grants: Grants) -> VmSpec {
    VmSpec {
        name: "bench".to_owned(),
        epoch: 1,
        attempt: 0,
        fence_deadline_boottime_ms: None,
        module: module.sha256.clone(),
        kind: module.kind,
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        env: BTreeMap::new(),
        grants,
        mounts: Vec::new(),
        keep_files: false,
    }
}

/// The UID of the VM of that number.
pub(crate) fn uid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Waits until a VM has ended; looks that often.
pub(crate) async fn wait_for_end(
    cell: &CellClient,
    uid: &str,
    every: Duration,
    patience: Duration,
) -> Result<()> {
    let end = Instant::now() + patience;
    while cell.vm(uid).await?.is_some_and(|vm| vm.end.is_none()) {
        ensure!(Instant::now() < end, "{uid} has not ended");
        tokio::time::sleep(every).await;
    }
    Ok(())
}
