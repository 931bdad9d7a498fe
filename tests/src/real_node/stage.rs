//! A real node with our image on it, a registry, kubectl and helm: what a release is tried on.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::network::NODE_ADDRESS;
use super::standing::IMAGE;
use super::{NODE, RealNode};
use crate::built::binary;
use crate::image::Written;
use crate::kubectl::Kubectl;
use crate::program::stdout_of;
use crate::registry::Registry;
use crate::vm::{Namespace, condition, text};
use crate::wait::{self, Look};
use crate::{Result, cache, chart, helm, image, scratch};

/// The release's namespace.
pub use crate::identity::SYSTEM;

/// How long another test may have the machine's one stage.
const TURN_WITHIN: Duration = Duration::from_mins(10);

/// A node for one release.
#[derive(Debug)]
pub struct Stage {
    /// The node.
    pub node: RealNode,
    /// Where guests are pulled from.
    pub registry: Registry,
    /// The image; `None` where `AGENTVM_TEST_IMAGE` names one.
    pub image: Option<Written>,
    _turn: File,
}

impl Stage {
    /// Starts the node, and loads the image that is made of what `cargo build` has built.
    pub fn set() -> Result<Self> {
        let turn = turn()?;
        let dir = scratch::dir("node")?;
        let node = RealNode::start(&dir)?;
        let (archive, image) = archive(dir.join("image.tar"))?;
        node.containerd.import(&archive)?;
        let registry = Registry::start_at(SocketAddr::new(NODE_ADDRESS, 5000), &dir)?;
        Ok(Self {
            node,
            registry,
            image,
            _turn: turn,
        })
    }

    /// Runs kubectl as cluster admin.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.node.plane.kubectl.run(words)?.done()
    }

    /// Runs helm on the release.
    pub fn helm(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(helm::program()?);
        command
            .args(words)
            .args(["--namespace", SYSTEM])
            .env("KUBECONFIG", self.node.plane.kubectl.kubeconfig())
            .env("HOME", self.node.dir());
        stdout_of(&mut command)
    }

    /// The chart's folder.
    pub fn chart() -> String {
        chart::folder().display().to_string()
    }

    /// Installs the chart into a namespace that takes restricted Pods alone, with these flags.
    pub fn install(&self, flags: &[&str]) -> Result<()> {
        let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let metadata = json!({"name": SYSTEM, "labels": labels});
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        self.node
            .plane
            .api
            .create("/api/v1/namespaces", &namespace)?;
        let registries = format!("node.insecureRegistries={{{}}}", self.registry.address);
        let chart = Self::chart();
        let install = ["install", "agentvm", &chart, "--set", &registries];
        let wait = ["--wait", "--timeout", "90s"];
        self.helm(&[&install, flags, &wait].concat()).map(|_| ())
    }

    /// Upgrades the release or rolls it back, and waits until the node pod is the new one.
    pub fn change_release(&self, words: &[&str]) -> Result<()> {
        self.helm(&[words, &["--wait", "--timeout", "120s"]].concat())?;
        let rollout = ["rollout", "status", "daemonset/agentvm-node"];
        let flags = ["--namespace", SYSTEM, "--timeout=120s"];
        self.kubectl(&[rollout.as_slice(), &flags].concat())?;
        self.wait_until_ready()
    }

    /// An object, which must be there.
    pub fn object(&self, path: &str) -> Result<Value> {
        let object = self.node.plane.api.get(path)?;
        object.with_context(|| format!("{path} is not there"))
    }

    /// The objects of a list.
    pub fn objects(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.object(path)?;
        let items = list.get("items").and_then(Value::as_array).cloned();
        items.with_context(|| format!("{path} is no list"))
    }

    /// The one node pod that is not on its way out.
    pub fn node_pod(&self) -> Result<Value> {
        let path = format!(
            "/api/v1/namespaces/{SYSTEM}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dnode"
        );
        wait::until("one node pod", || {
            let mut pods = self.objects(&path)?;
            pods.retain(|pod| pod.pointer("/metadata/deletionTimestamp").is_none());
            Ok(match (pods.pop(), pods.len()) {
                (Some(pod), 0) => Look::Yes(pod),
                (_, more) => Look::NotYet(format!("{more} more or none")),
            })
        })
    }

    /// What the containers `cells` and with it every guest wrote.
    pub fn cells_log(&self) -> Result<String> {
        let pod = text(&self.node_pod()?, "/metadata/name");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}/log?container=cells");
        self.node.plane.api.text(&path)
    }

    /// The agent's metrics, through the API server.
    pub fn metrics(&self) -> Result<String> {
        let pod = text(&self.node_pod()?, "/metadata/name");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:9810/proxy/metrics");
        self.node.plane.api.text(&path)
    }

    /// A namespace of a step's own.
    pub fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        Namespace::create(&self.node.plane, name)
    }

    /// The process on the node whose words `wanted` accepts.
    pub fn process(&self, what: &str, wanted: impl Fn(&[&str]) -> bool) -> Result<u32> {
        let found = self.node.sandbox.processes(wanted)?;
        ensure!(found.len() == 1, "{what}: {} processes", found.len());
        found.first().copied().context("one process")
    }

    /// The agent's process.
    pub fn agent(&self) -> Result<u32> {
        self.process("the agent", |words| {
            words.first() == Some(&"/agentvm-node-agent")
        })
    }

    /// The process of a namespace's cell.
    pub fn cell(&self, namespace: &str) -> Result<u32> {
        self.process(&format!("the cell of {namespace}"), |words| {
            words.first() == Some(&"agentvm-cell") && words.contains(&namespace)
        })
    }

    /// The operators' processes, one a replica.
    pub fn operators(&self) -> Result<Vec<u32>> {
        self.node
            .sandbox
            .processes(|words| words.first() == Some(&"/agentvm-operator"))
    }

    /// kubectl with the token that a process of a pod has.
    pub fn kubectl_of_pod(&self, name: &str, pid: u32) -> Result<Kubectl> {
        let token = format!("/proc/{pid}/root/var/run/secrets/kubernetes.io/serviceaccount/token");
        let token = std::fs::read_to_string(&token).with_context(|| format!("reading {token}"))?;
        let plane = &self.node.plane;
        let kubeconfig = plane.kubeconfig_of_token(&format!("real-{name}"), token.trim())?;
        Kubectl::new(&kubeconfig)
    }

    /// Waits until the node pod is Ready with an AgentNode that is.
    pub fn wait_until_ready(&self) -> Result<()> {
        let path = format!("/apis/agentvm.dev/v1alpha1/agentnodes/{NODE}");
        wait::until("the AgentNode and its pod to be Ready", || {
            let pod = self.node_pod()?;
            let node = self.node.plane.api.get(&path)?.unwrap_or_default();
            let ready =
                |object: &Value| condition(object, "Ready").is_some_and(|it| it.status == "True");
            Ok(wait::yes_if(ready(&pod) && ready(&node), || {
                format!(
                    "{} {}",
                    node.get("status").unwrap_or(&Value::Null),
                    pod.pointer("/status/containerStatuses")
                        .unwrap_or(&Value::Null)
                )
            }))
        })
    }
}

/// The right to the one stage of this machine: two at once would disturb each other's clocks.
fn turn() -> Result<File> {
    let path = cache::dir()?.join("stage.lock");
    let lock = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    wait::until_within(TURN_WITHIN, "another real-node test to end", || {
        Ok(match lock.try_lock() {
            Ok(()) => Look::Yes(()),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })?;
    Ok(lock)
}

/// The image of what `cargo build` has built, or the archive that `AGENTVM_TEST_IMAGE` names.
fn archive(archive: PathBuf) -> Result<(PathBuf, Option<Written>)> {
    if let Some(archive) = std::env::var_os("AGENTVM_TEST_IMAGE") {
        return Ok((PathBuf::from(archive), None));
    }
    let programs = binary("agentvm")?;
    let programs = programs.parent().context("a program is in a folder")?;
    let written = image::image(IMAGE, programs)?.write(&archive)?;
    Ok((archive, Some(written)))
}
