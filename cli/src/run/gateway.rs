//! The gateway of a standalone run: this same binary, started only where a VM asks for network, and
//! started again where it ends before the run does.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentvm_cell_api::client::GatewayClient;
use anyhow::Context as _;
use tempfile::TempDir;

use super::child::{self, Child};
use crate::print::{self, Output};

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
        let child = spawn(args, require_jail, dir.path())?;
        let mut gateway = Self {
            child,
            dir,
            args: args.clone(),
            require_jail: require_jail.to_owned(),
            output,
        };
        let client = gateway.client();
        let answers = async || client.info().await.is_ok();
        let started = gateway.child.wait_until(answers).await;
        started.context("a VM of the files asks for network, and so needs a gateway")?;
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
            self.child.ended().await;
            let said = self.child.said().await;
            let line = format!("agentvm: the gateway ended and is started again: {said}");
            print::remark(self.output, &line);
            self.child = self.spawn_again().await;
        }
    }

    async fn spawn_again(&self) -> Child {
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
        self.child.stop().await;
    }
}

fn spawn(args: &NetworkArgs, require_jail: &str, dir: &Path) -> anyhow::Result<Child> {
    let NetworkArgs {
        root_certificates,
        name_servers,
        access_log,
    } = args;
    let mut command = child::command("gateway");
    command
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
    Child::start("gateway", &mut command)
}
