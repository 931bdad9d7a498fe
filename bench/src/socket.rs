//! From the agent's socket call to the first output, through a real warden and a real cell.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use agentvm_cell_api::cell::VmSpec;
use agentvm_cell_api::client::{CellClient, WardenClient};
use agentvm_cell_api::log::Line;
use agentvm_cell_api::warden::Module;
use agentvm_policy::Grants;
use agentvm_tests::node::binary;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::in_process::generous;
use crate::samples::Samples;

const PATIENCE: Duration = Duration::from_secs(20);

/// A warden with one cell, and its log lines.
#[derive(Debug)]
pub(crate) struct Cell {
    warden: Child,
    lines: BufReader<ChildStdout>,
    api: WardenClient,
    client: CellClient,
}

impl Cell {
    /// Starts a warden with its files in `dir`, and a cell.
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        let path = |name: &str| -> Result<PathBuf> {
            let path = dir.join(name);
            fs::create_dir_all(&path)?;
            Ok(path)
        };
        let run_dir = path("run")?;
        let mut warden = Command::new(binary("agentvm-cell")?)
            .arg("warden")
            .arg("--run-dir")
            .arg(&run_dir)
            .arg("--cache-dir")
            .arg(path("compiled")?)
            .arg("--log-dir")
            .arg(path("logs")?)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("starting the warden")?;
        let lines = BufReader::new(warden.stdout.take().context("stdout is piped")?);
        let api = WardenClient::new(run_dir.join("warden.sock"));
        let client = wait_for_cell(&api).await?;
        Ok(Self {
            warden,
            lines,
            api,
            client,
        })
    }

    /// Compiles `wasm` into the warden's cache.
    pub(crate) async fn compile(&self, wasm: &[u8]) -> Result<Module> {
        let sha256 = format!("{:x}", Sha256::digest(wasm));
        Ok(self
            .api
            .put_module(None, &sha256, Bytes::copy_from_slice(wasm))
            .await?)
    }

    /// Starts `n` VMs one after another; each from the call to its first line of output.
    pub(crate) async fn first_output(
        &mut self,
        module: &Module,
        args: &[&str],
        n: usize,
    ) -> Result<Samples> {
        let mut samples = Samples::new();
        for i in 0..=n {
            let uid = format!("00000000-0000-4000-8000-{i:012}");
            let start = Instant::now();
            self.client
                .put_vm(&uid, &spec(module, args, generous()))
                .await?;
            let line = self.next_line()?;
            let took = start.elapsed();
            ensure!(
                line.uid == uid,
                "a line of {} where {uid} was waited for",
                line.uid
            );
            // The first start loads the code into the cell.
            if i > 0 {
                samples.push_us(took);
            }
            self.forget(&uid).await?;
        }
        Ok(samples)
    }

    fn next_line(&mut self) -> Result<Line> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    async fn forget(&self, uid: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        while self
            .client
            .vm(uid)
            .await?
            .is_some_and(|vm| vm.end.is_none())
        {
            ensure!(Instant::now() < end, "{uid} has not ended");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.client
            .delete_vm(uid, Duration::ZERO, agentvm_policy::EndReason::Stopped)
            .await?;
        Ok(())
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        // Fails only where it has ended already; its cell follows it.
        let _ = self.warden.kill();
        let _ = self.warden.wait();
    }
}

async fn wait_for_cell(api: &WardenClient) -> Result<CellClient> {
    let end = Instant::now() + PATIENCE;
    loop {
        match api.start_cell("bench").await {
            Ok(cell) => return Ok(CellClient::new(cell.socket)),
            Err(error) if Instant::now() >= end => {
                return Err(error).context("the warden did not come up");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

fn spec(module: &Module, args: &[&str], grants: Grants) -> VmSpec {
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
