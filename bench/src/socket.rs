//! From the agent's socket call to the first output, through a real warden and a real cell.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use agentvm_cell_api::client::CellClient;
use agentvm_cell_api::log::Line;
use agentvm_cell_api::warden::Module;
use anyhow::{Result, ensure};

use crate::in_process::generous;
use crate::samples::Samples;
use crate::warden::{self, Warden, spec};

/// VMs that the cell can hold, as by default.
const VMS: u32 = 1_000;

/// A warden with one cell, and its log lines.
#[derive(Debug)]
pub(crate) struct Cell {
    warden: Warden,
    lines: BufReader<ChildStdout>,
    client: CellClient,
}

impl Cell {
    /// Starts a warden with its files in `dir`, and a cell.
    pub(crate) async fn start(dir: &Path) -> Result<Self> {
        let (warden, printed) = Warden::start(dir, VMS)?;
        let client = warden.cell("bench").await?;
        Ok(Self {
            warden,
            lines: BufReader::new(printed),
            client,
        })
    }

    /// Compiles `wasm` into the warden's cache.
    pub(crate) async fn compile(&self, wasm: &[u8]) -> Result<Module> {
        self.warden.compile(wasm).await
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
            let uid = warden::uid(i);
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
        warden::wait_for_end(&self.client, uid, warden::LOOK_EVERY, warden::PATIENCE).await?;
        self.client
            .delete_vm(uid, Duration::ZERO, agentvm_policy::EndReason::Stopped)
            .await?;
        Ok(())
    }
}
