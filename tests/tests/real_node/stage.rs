//! What every step works with: the node, the image on it, a registry, kubectl and helm.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentvm_tests::built::binary;
use agentvm_tests::program::stdout_of;
use agentvm_tests::real_node::RealNode;
use agentvm_tests::real_node::network::NODE_ADDRESS;
use agentvm_tests::real_node::standing::IMAGE;
use agentvm_tests::registry::Registry;
use agentvm_tests::vm::{Namespace, text};
use agentvm_tests::wait::{self, Look};
use agentvm_tests::{Result, guests, helm, image, scratch, workspace};
use anyhow::{Context as _, ensure};
use serde_json::Value;

/// The release's namespace.
pub(crate) const SYSTEM: &str = "agentvm-system";

/// The stage.
pub(crate) struct Stage {
    /// The node.
    pub(crate) node: RealNode,
    /// Where guests are pulled from.
    pub(crate) registry: Registry,
}

impl Stage {
    /// Starts the node, and loads the image that is made of what `cargo build` has built.
    pub(crate) fn set() -> Result<Self> {
        let dir = scratch::dir("node")?;
        let node = RealNode::start(&dir)?;
        let archive = archive(&dir)?;
        node.containerd.import(&archive)?;
        let registry = Registry::start_at(SocketAddr::new(NODE_ADDRESS, 5000), &dir)?;
        Ok(Self { node, registry })
    }

    /// Runs kubectl as cluster admin.
    pub(crate) fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.node.plane.kubectl.run(words)?.done()
    }

    /// Runs helm on the release.
    pub(crate) fn helm(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(helm::program()?);
        command
            .args(words)
            .args(["--namespace", SYSTEM])
            .env("KUBECONFIG", self.node.plane.kubectl.kubeconfig())
            .env("HOME", self.node.dir());
        stdout_of(&mut command)
    }

    /// The chart's folder.
    pub(crate) fn chart() -> String {
        workspace::root()
            .join("charts/agentvm")
            .display()
            .to_string()
    }

    /// An object, which must be there.
    pub(crate) fn object(&self, path: &str) -> Result<Value> {
        let object = self.node.plane.api.get(path)?;
        object.with_context(|| format!("{path} is not there"))
    }

    /// The objects of a list.
    pub(crate) fn objects(&self, path: &str) -> Result<Vec<Value>> {
        let list = self.object(path)?;
        let items = list.get("items").and_then(Value::as_array).cloned();
        items.with_context(|| format!("{path} is no list"))
    }

    /// The one node pod that is not on its way out.
    pub(crate) fn node_pod(&self) -> Result<Value> {
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
    pub(crate) fn cells_log(&self) -> Result<String> {
        let pod = text(&self.node_pod()?, "/metadata/name");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}/log?container=cells");
        self.node.plane.api.text(&path)
    }

    /// The agent's metrics, through the API server.
    pub(crate) fn metrics(&self) -> Result<String> {
        let pod = text(&self.node_pod()?, "/metadata/name");
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:9810/proxy/metrics");
        self.node.plane.api.text(&path)
    }

    /// A namespace of a step's own.
    pub(crate) fn namespace(&self, name: &str) -> Result<Namespace<'_>> {
        Namespace::create(&self.node.plane, name)
    }

    /// The process on the node whose words `wanted` accepts.
    pub(crate) fn process(&self, what: &str, wanted: impl Fn(&[&str]) -> bool) -> Result<u32> {
        let found = self.node.sandbox.processes(wanted)?;
        ensure!(found.len() == 1, "{what}: {} processes", found.len());
        found.first().copied().context("one process")
    }

    /// The agent's process.
    pub(crate) fn agent(&self) -> Result<u32> {
        self.process("the agent", |words| {
            words.first() == Some(&"/agentvm-node-agent")
        })
    }

    /// The process of a namespace's cell.
    pub(crate) fn cell(&self, namespace: &str) -> Result<u32> {
        self.process(&format!("the cell of {namespace}"), |words| {
            words.first() == Some(&"agentvm-cell") && words.contains(&namespace)
        })
    }

    /// Waits until the node pod is Ready with an AgentNode that is.
    pub(crate) fn wait_until_ready(&self) -> Result<()> {
        let path = format!(
            "/apis/agentvm.dev/v1alpha1/agentnodes/{}",
            agentvm_tests::real_node::NODE
        );
        wait::until("the AgentNode and its pod to be Ready", || {
            let pod = self.node_pod()?;
            let node = self.node.plane.api.get(&path)?.unwrap_or_default();
            let ready = |object: &Value| {
                agentvm_tests::vm::condition(object, "Ready").is_some_and(|it| it.status == "True")
            };
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

    /// Pushes every guest that the examples name.
    pub(crate) fn push_guests(&self) -> Result<()> {
        let dir = scratch::dir("guests")?;
        for name in ["hello", "detective", "rogue", "echo"] {
            let wasm = dir.join(format!("{name}.wasm"));
            build_guest(name, &wasm)?;
            self.push(&wasm, &format!("{name}:v1"))?;
        }
        self.push(&guests::cpython()?, "cpython:3.12")
    }

    fn push(&self, wasm: &Path, name: &str) -> Result<()> {
        let mut push = Command::new(binary("agentvm")?);
        push.args(["push", "--insecure"])
            .arg(wasm)
            .arg(format!("{}/{name}", self.registry.address));
        stdout_of(&mut push).map(|_| ())
    }
}

/// The image of what `cargo build` has built, or the archive that `AGENTVM_TEST_IMAGE` names.
fn archive(dir: &Path) -> Result<PathBuf> {
    if let Some(archive) = std::env::var_os("AGENTVM_TEST_IMAGE") {
        return Ok(PathBuf::from(archive));
    }
    let programs = binary("agentvm")?;
    let programs = programs.parent().context("a program is in a folder")?;
    let archive = dir.join("image.tar");
    let written = image::image(IMAGE, programs)?.write(&archive)?;
    ensure!(
        written.layer_bytes < 60_000_000,
        "the image has {} bytes, and 60 MB were promised",
        written.layer_bytes
    );
    Ok(archive)
}

fn build_guest(name: &str, wasm: &Path) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(wasm)
        .arg(format!("./{name}"))
        .current_dir(workspace::root().join("examples/guests"))
        .envs([("GOOS", "wasip1"), ("GOARCH", "wasm"), ("GOWORK", "off")]);
    stdout_of(&mut go).map(|_| ())
}

/// The examples' manifests, with the name of their file.
pub(crate) fn examples() -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(workspace::root().join("examples"))? {
        let path: PathBuf = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let name = path.file_name().context("a file has a name")?;
            all.push((
                name.to_string_lossy().into_owned(),
                fs::read_to_string(&path)?,
            ));
        }
    }
    all.sort();
    Ok(all)
}
