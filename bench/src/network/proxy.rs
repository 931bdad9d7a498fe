//! The peers: ordinary forward proxies of Debian, without a cache and without a log.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::client::Client;

/// How long a proxy may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A proxy's process; it ends with this.
#[derive(Debug)]
pub(super) struct Proxy {
    child: Child,
    address: SocketAddr,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Proxy {
    /// squid, as one process.
    pub(super) fn squid(dir: &Path) -> Result<Self> {
        let config = "http_port 127.0.0.1:3128\nhttp_access allow all\ncache deny all\n\
             access_log none\ncache_store_log none\ncache_log /dev/null\npid_filename none\n\
             netdb_filename none\npinger_enable off\nvia off\nforwarded_for delete\n\
             shutdown_lifetime 0 seconds\nmax_filedescriptors 4096\n";
        let path = written(dir, "squid.conf", config)?;
        Self::start("squid", 3128, |command| {
            command.args(["-N", "-f"]).arg(path);
        })
    }

    /// tinyproxy, with a thread for each connection.
    pub(super) fn tinyproxy(dir: &Path) -> Result<Self> {
        let config = "Port 8888\nListen 127.0.0.1\nMaxClients 1000\nTimeout 60\n\
             LogLevel Critical\nDisableViaHeader Yes\n";
        let path = written(dir, "tinyproxy.conf", config)?;
        Self::start("tinyproxy", 8888, |command| {
            command.args(["-d", "-c"]).arg(path);
        })
    }

    fn start(program: &str, port: u16, args: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = Command::new(program);
        args(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("the peer needs Debian's package of {program}"))?;
        Ok(Self {
            child,
            address: (Ipv4Addr::LOCALHOST, port).into(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks by it, once it listens.
    pub(super) async fn client(&self) -> Result<Client> {
        let client = Client::by_proxy(self.address);
        let end = Instant::now() + PATIENCE;
        while client.small().await.is_err() {
            ensure!(Instant::now() < end, "{} does not answer", self.address);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(client)
    }
}

fn written(dir: &Path, name: &str, text: &str) -> Result<std::path::PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
