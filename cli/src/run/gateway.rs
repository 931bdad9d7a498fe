//! The gateway of a standalone run: this same binary, started only where a VM asks for network, and
//! started again where it ends before the run does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agentvm_cell_api::client::GatewayClient;
use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

use super::parent::PARENT;
use super::warden::keep_lines;
use crate::print::{self, Output};

/// How long it may take until it answers.
const START_WITHIN: Duration = Duration::from_secs(20);
/// How often it is asked meanwhile.
const ASK_EVERY: Duration = Duration::from_millis(5);
/// How long it may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// Before one that ended is started again.
const RESTART_AFTER: Duration = Duration::from_millis(500);

/// Flags of `agentvm run` on the network of its VMs.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NetworkArgs {
    /// The certificate authorities that hosts are verified by, as PEM. Default: the system's.
    #[arg(long, value_name = "FILE", env = "AGENTVM_ROOT_CERTIFICATES")]
    root_certificates: Option<PathBuf>,
    /// A server that resolves names for VMs; may be given several times. Default: those of
    /// /etc/resolv.conf.
    #[arg(
        long = "name-server",
        value_name = "IP:PORT",
        env = "AGENTVM_NAME_SERVERS",
        value_delimiter = ','
    )]
    name_servers: Vec<SocketAddr>,
    /// Appends a line of JSON for each request of a VM to this file: who asked which host, what
    /// became of it, and no path, header or body. Default: none.
    #[arg(long, value_name = "FILE", env = "AGENTVM_ACCESS_LOG")]
    access_log: Option<PathBuf>,
}

/// A running gateway.
#[derive(Debug)]
pub(super) struct Gateway {
    child: Child,
    stderr: JoinHandle<Vec<String>>,
    dir: TempDir,
    args: NetworkArgs,
    require_jail: String,
    output: Output,
}

impl Gateway {
    /// Starts a gateway and waits until it answers.
    pub(super) async fn start(
        args: &NetworkArgs,
        require_jail: &str,
        output: Output,
    ) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("agentvm-")
            .tempdir()
            .context("no folder for the gateway's sockets")?;
        let (child, stderr) = spawn(args, require_jail, dir.path())?;
        let mut gateway = Self {
            child,
            stderr,
            dir,
            args: args.clone(),
            require_jail: require_jail.to_owned(),
            output,
        };
        gateway.wait_until_it_answers().await?;
        Ok(gateway)
    }

    /// The directory of its sockets.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A client of it.
    pub(super) fn client(&self) -> GatewayClient {
        GatewayClient::of_dir(self.dir.path())
    }

    /// Starts it again whenever it ends, for ever. VMs run on meanwhile; what they ask fails.
    ///
    /// A child is bound to the thread that starts it: call it from the one that waits for the run.
    pub(super) async fn keep(&mut self) {
        loop {
            let _status = self.child.wait().await;
            let said = self.said().await;
            let line = format!("agentvm: the gateway ended and is started again: {said}");
            print::remark(self.output, &line);
            (self.child, self.stderr) = self.spawn_again().await;
        }
    }

    async fn spawn_again(&self) -> (Child, JoinHandle<Vec<String>>) {
        loop {
            tokio::time::sleep(RESTART_AFTER).await;
            match spawn(&self.args, &self.require_jail, self.dir.path()) {
                Ok(spawned) => return spawned,
                Err(error) => print::remark(self.output, &format!("agentvm: {error:#}")),
            }
        }
    }

    /// Ends it.
    pub(super) async fn stop(mut self) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // It may have ended already.
            let _sent = kill_process(pid, Signal::TERM);
        }
        if tokio::time::timeout(STOP_WITHIN, self.child.wait())
            .await
            .is_err()
        {
            let _killed = self.child.kill().await;
        }
    }

    async fn wait_until_it_answers(&mut self) -> anyhow::Result<()> {
        let client = self.client();
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
        let said = self.said().await;
        anyhow::bail!(
            "the gateway, which a VM of the files needs since it asks for network, did not start: {why}: {said}"
        )
    }

    async fn said(&mut self) -> String {
        let said = (&mut self.stderr).await.unwrap_or_default();
        said.join(" / ")
    }
}

fn spawn(
    args: &NetworkArgs,
    require_jail: &str,
    dir: &Path,
) -> anyhow::Result<(Child, JoinHandle<Vec<String>>)> {
    let NetworkArgs {
        root_certificates,
        name_servers,
        access_log,
    } = args;
    let mut command = Command::new("/proc/self/exe");
    command
        .arg("gateway")
        .arg("--dir")
        .arg(dir)
        .args(["--require-jail", require_jail])
        .args(
            name_servers
                .iter()
                .map(|server| format!("--name-server={server}")),
        );
    if let Some(file) = root_certificates {
        command.arg("--root-certificates").arg(file);
    }
    if let Some(file) = access_log {
        // Whatever its name is, it is a file's.
        command.arg("--access-log").arg(std::path::absolute(file)?);
    }
    // Nothing of the environment leads anywhere: no proxy, no other directory.
    command.env_clear();
    command.envs(std::env::var_os("AGENTVM_LOG").map(|level| ("AGENTVM_LOG", level)));
    let mut child = command
        .env(PARENT, std::process::id().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // A terminal's Ctrl-C is for this process alone, which then stops the VMs in order.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .context("the gateway can't be started")?;
    let stderr = child.stderr.take().context("the gateway has no stderr")?;
    Ok((child, tokio::spawn(keep_lines(stderr))))
}
