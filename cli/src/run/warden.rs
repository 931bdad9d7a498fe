//! The warden of a standalone run: this same binary, in a private folder, ended with the run.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agentvm_cell_api::client::WardenClient;
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::output::Streams;
use super::parent::PARENT;
use crate::print;

/// How long the warden may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long it may take to end: nothing runs any more by then.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Lines of its log that are shown where it does not start.
const SHOWN_LINES: usize = 5;

/// A running warden.
#[derive(Debug)]
pub(super) struct Warden {
    child: Child,
    run_dir: TempDir,
    stdout: JoinHandle<()>,
    stderr: JoinHandle<Vec<String>>,
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
        let mut child = Command::new("/proc/self/exe")
            .arg("warden")
            .arg("--run-dir")
            .arg(run_dir.path().join("run"))
            .arg("--cache-dir")
            .arg(cache_dir)
            .arg("--log-dir")
            .arg(run_dir.path().join("logs"))
            .args(["--require-jail", require_jail])
            .args(gateway_dir)
            .env_remove("AGENTVM_GATEWAY_DIR")
            .env(PARENT, std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C is for this process alone, which then stops the VMs in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("the warden can't be started")?;
        let stdout = child.stdout.take().context("the warden has no stdout")?;
        let stderr = child.stderr.take().context("the warden has no stderr")?;
        let mut warden = Self {
            child,
            run_dir,
            stdout: tokio::spawn(print_lines(stdout, streams)),
            stderr: tokio::spawn(keep_lines(stderr)),
        };
        warden.wait_until_it_answers().await?;
        Ok(warden)
    }

    /// Its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.run_dir.path().join("run/warden.sock")
    }

    /// Resolves when it ends by itself.
    pub(super) async fn ended(&mut self) {
        let _status = self.child.wait().await;
    }

    /// Ends it with all that it started, and prints what is left of the guests' output.
    pub(super) async fn stop(mut self) {
        self.signal(Signal::TERM);
        if tokio::time::timeout(STOP_WITHIN, self.child.wait())
            .await
            .is_err()
        {
            let _killed = self.child.kill().await;
        }
        // Its cells hold the other end of the pipe: when that closes, all of them have ended.
        let _drained = tokio::time::timeout(STOP_WITHIN, &mut self.stdout).await;
        let _drained = tokio::time::timeout(STOP_WITHIN, &mut self.stderr).await;
    }

    fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            let _sent = kill_process(pid, signal);
        }
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let client = WardenClient::new(self.socket());
        let answers = async {
            while client.info().await.is_err() {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        let why = tokio::select! {
            () = answers => return Ok(()),
            _status = self.child.wait() => "it ended",
            () = tokio::time::sleep(START_WITHIN) => "it does not answer",
        };
        let _killed = self.child.kill().await;
        let said = (&mut self.stderr).await.unwrap_or_default();
        anyhow::bail!("the warden did not start: {why}: {}", said.join(" / "))
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

/// Keeps the last lines of the log; shows them all where somebody asked for a log.
pub(super) async fn keep_lines(stderr: impl AsyncRead + Unpin) -> Vec<String> {
    let is_shown = std::env::var_os("AGENTVM_LOG").is_some();
    let mut lines = BufReader::new(stderr).lines();
    let mut kept = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if is_shown {
            print::note(&line);
        }
        if kept.len() >= SHOWN_LINES {
            kept.remove(0);
        }
        kept.push(line);
    }
    kept
}
