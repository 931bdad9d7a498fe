//! A process of a standalone run: this same binary in another part, ended with the run.

use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::task::JoinHandle;

use super::parent::PARENT;
use crate::print;

/// How long it may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long it may take to end.
pub(super) const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Lines of its log that are shown where it does not start.
const SHOWN_LINES: usize = 5;

/// A running process of this binary.
#[derive(Debug)]
pub(super) struct Child {
    part: &'static str,
    process: tokio::process::Child,
    stderr: JoinHandle<Vec<String>>,
}

/// The command that plays `part`.
pub(super) fn command(part: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(part).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Child {
    /// Starts it by a [`command`] of `part`.
    pub(super) fn start(part: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let mut process = command
            .env(PARENT, std::process::id().to_string())
            .stderr(Stdio::piped())
            // A terminal's Ctrl-C is for this process alone, which then stops the VMs in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("the {part} can't be started"))?;
        let stderr = process.stderr.take();
        let stderr = stderr.with_context(|| format!("the {part} has no stderr"))?;
        Ok(Self {
            part,
            process,
            stderr: tokio::spawn(keep_lines(stderr)),
        })
    }

    /// Its stdout, where the command pipes it.
    pub(super) fn stdout(&mut self) -> anyhow::Result<ChildStdout> {
        let stdout = self.process.stdout.take();
        stdout.with_context(|| format!("the {} has no stdout", self.part))
    }

    /// Waits until `answers` says that it does.
    ///
    /// # Errors
    ///
    /// Where it ends or is silent instead, with the end of its log.
    pub(super) async fn wait_until(
        &mut self,
        answers: impl AsyncFn() -> bool,
    ) -> anyhow::Result<()> {
        let answers = async {
            while !answers().await {
                tokio::time::sleep(ASK_EVERY).await;
            }
        };
        let why = tokio::select! {
            () = answers => return Ok(()),
            _status = self.process.wait() => "it ended",
            () = tokio::time::sleep(START_WITHIN) => "it does not answer",
        };
        let _killed = self.process.kill().await;
        let part = self.part;
        let said = self.said().await;
        anyhow::bail!("the {part} did not start: {why}: {said}")
    }

    /// Resolves when it ends by itself.
    pub(super) async fn ended(&mut self) {
        let _status = self.process.wait().await;
    }

    /// The end of its log, once it has ended.
    pub(super) async fn said(&mut self) -> String {
        let said = (&mut self.stderr).await.unwrap_or_default();
        said.join(" / ")
    }

    /// Ends it.
    pub(super) async fn stop(&mut self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // It may have ended already.
            let _sent = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_WITHIN, self.process.wait())
            .await
            .is_err()
        {
            let _killed = self.process.kill().await;
        }
    }

    /// Waits for what it left in its log.
    pub(super) async fn drained(&mut self) {
        let _drained = tokio::time::timeout(STOP_WITHIN, &mut self.stderr).await;
    }
}

/// Keeps the last lines of the log; shows them all where somebody asked for a log.
async fn keep_lines(stderr: impl AsyncRead + Unpin) -> Vec<String> {
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
