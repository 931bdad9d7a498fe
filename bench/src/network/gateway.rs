//! The gateway's process, and VMs whose rules it has.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentvm_cell_api::client::GatewayClient;
use agentvm_cell_api::gateway::{CHANNELS, Channel, Limits, Node, Rule, Vm};
use agentvm_policy::egress::RuleText;
use agentvm_policy::{LimitField, budget};
use agentvm_tests::built::binary;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

use super::client::{Client, ask};
use super::upstream::{HOST, OPEN};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// The one namespace.
const NAMESPACE: &str = "bench";

/// A running gateway; it ends with this.
#[derive(Debug)]
pub(super) struct Gateway {
    dir: PathBuf,
    child: Child,
    agent: GatewayClient,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Gateway {
    /// Starts one as it is shipped, jailed.
    pub(super) async fn start(dir: &Path) -> Result<Self> {
        let dir = dir.join("gateway");
        let child = Command::new(binary("agentvm-gateway")?)
            .arg("--dir")
            .arg(&dir)
            // Nobody asks for a name: the peers would ask another server.
            .args(["--name-server", "9.9.9.9"])
            .stdin(Stdio::null())
            .spawn()
            .context("starting the gateway")?;
        let agent = GatewayClient::of_dir(&dir);
        let gateway = Self { dir, child, agent };
        let end = Instant::now() + PATIENCE;
        while gateway.agent.info().await.is_err() {
            ensure!(Instant::now() < end, "the gateway does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        gateway.agent.put_node(&Node::default()).await?;
        Ok(gateway)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks by it as the VM of this number.
    pub(super) async fn client(&self, number: usize) -> Result<Client> {
        let uid = self.vm(number).await?;
        let sender = self.channel().await?;
        Ok(Client::Channel { sender, uid })
    }

    /// Opens one answer for each of so many VMs, by one channel; its first byte has come.
    pub(super) async fn open_streams(&self, vms: usize) -> Result<Vec<Incoming>> {
        let sender = self.channel().await?;
        let mut all = Vec::with_capacity(vms);
        for number in 0..vms {
            let uid = self.vm(number).await?;
            let answer = ask(&sender, &uid, OPEN).await?;
            ensure!(answer.status() == 200, "{answer:?}");
            let mut body = answer.into_body();
            body.frame().await.context("an answer that began")??;
            all.push(body);
        }
        Ok(all)
    }

    async fn vm(&self, number: usize) -> Result<String> {
        let uid = format!("vm-{number}");
        let vm = Vm {
            namespace: NAMESPACE.to_owned(),
            name: uid.clone(),
            rules: vec![Rule {
                allow: RuleText {
                    scheme: Some("http".to_owned()),
                    ..RuleText::new(&HOST.to_string(), &["GET"], &["/*"])
                },
                inject: Vec::new(),
            }],
            networks: Vec::new(),
            limits: Limits {
                connections: 32,
                egress_bytes: 0,
                egress_bytes_per_second: LimitField::EgressRate.max(),
            },
            fence_deadline_boottime_ms: None,
        };
        self.agent.put_vm(&uid, &vm).await?;
        Ok(uid)
    }

    /// A channel, with windows as a cell's are.
    async fn channel(&self) -> Result<http2::SendRequest<Empty<Bytes>>> {
        let mut stream = UnixStream::connect(self.dir.join(CHANNELS)).await?;
        let channel = Channel {
            namespace: NAMESPACE.to_owned(),
        };
        let mut line = serde_json::to_vec(&channel)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(budget::STREAM_BYTES.u32())
            .initial_connection_window_size(budget::CHANNEL_BYTES.u32())
            .max_frame_size(budget::STREAM_BYTES.u32())
            .handshake(TokioIo::new(stream))
            .await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
