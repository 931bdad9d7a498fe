//! The warden of a standalone run: this same binary, in a private folder, ended with the run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use agentvm_cell_api::client::WardenClient;
use anyhow::Context as _;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::task::JoinHandle;

use super::child::{self, Child, STOP_WITHIN};
use super::output::Streams;

/// A running warden.
#[derive(Debug)]
pub(super) struct Warden {
    child: Child,
    run_dir: TempDir,
    stdout: JoinHandle<()>,
}

impl Warden {
    /// Starts a warden and waits until it answers. Guest output goes to `streams`, and what guests
    /// ask of hosts outside to the gateway in `gateway_dir`.
    pub(super) async fn start(
        state_dir: Option<&Path>,
        require_jail: &str,
        gateway_dir: Option<&Path>,
        streams: Streams,
    ) -> anyhow::Result<Self> {
        let run_dir = tempfile::Builder::new()
            .prefix("agentvm-")
            .tempdir()
            .context("no folder for the warden's sockets")?;
        let cache_dir = compiled_dir(state_dir, run_dir.path())?;
        let gateway_dir = gateway_dir.into_iter();
        let gateway_dir =
            gateway_dir.flat_map(|dir| [OsStr::new("--gateway-dir"), dir.as_os_str()]);
        let mut command = child::command("warden");
        command
            .arg("--run-dir")
            .arg(run_dir.path().join("run"))
            .arg("--cache-dir")
            .arg(cache_dir)
            .arg("--log-dir")
            .arg(run_dir.path().join("logs"))
            .args(["--require-jail", require_jail])
            .args(gateway_dir)
            .env_remove("AGENTVM_GATEWAY_DIR")
            .stdout(Stdio::piped());
        let mut child = Child::start("warden", &mut command)?;
        let stdout = tokio::spawn(print_lines(child.stdout()?, streams));
        let mut warden = Self {
            child,
            run_dir,
            stdout,
        };
        let client = WardenClient::new(warden.socket());
        let answers = async || client.info().await.is_ok();
        warden.child.wait_until(answers).await?;
        Ok(warden)
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.run_dir.path().join("run/warden.sock")
    }

    /// Resolves when it ends by itself.
    pub(super) async fn ended(&mut self) {
        self.child.ended().await;
    }

    /// Ends it with all that it started, and prints what is left of the guests' output.
    pub(super) async fn stop(mut self) {
        self.child.stop().await;
        // Its cells hold the other end of the pipe: when that closes, all of them have ended.
        let _drained = tokio::time::timeout(STOP_WITHIN, &mut self.stdout).await;
        self.child.drained().await;
    }
}

/// Where compiled code is kept: in the run's own folder where nothing else can be used.
fn compiled_dir(state_dir: Option<&Path>, run_dir: &Path) -> anyhow::Result<PathBuf> {
    if let Some(dir) = state_dir {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("--state-dir {} can't be used", dir.display()))?;
        return Ok(dir.join("compiled"));
    }
    let cache = std::env::var_os("AGENTVM_CACHE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/agentvm"));
    let shared = cache.or(home).map(|cache| cache.join("standalone"));
    Ok(
        match shared.filter(|dir| std::fs::create_dir_all(dir).is_ok()) {
            Some(dir) => dir.join("compiled"),
            None => run_dir.join("compiled"),
        },
    )
}

async fn print_lines(stdout: impl AsyncRead + Unpin, mut streams: Streams) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    while reader
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|read| read > 0)
    {
        streams.print(&line);
        line.clear();
    }
}
