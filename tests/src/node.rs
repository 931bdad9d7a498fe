//! One node: a Node object, its warden and its node agent as real processes, and its gateway where
//! a test asks for one.

mod processes;
mod settings;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::identity;
use crate::process::Process;
use crate::wait::{self, Look};
use crate::{Result, api, http, panics};
use processes::{AgentCall, WardenCall, gateway_dir, run_dir, start_gateway};

pub use crate::built::binary;
pub use processes::start_warden;
pub use settings::{NodeSettings, Outside};

/// A node; its processes end when this is dropped, or with the test binary.
#[derive(Debug)]
pub struct Node {
    /// The Node's name.
    pub name: String,
    /// The first process of the `cells` container.
    pub warden: Process,
    gateway: Mutex<Option<Process>>,
    agent: Mutex<Process>,
    call: AgentCall,
    warden_call: WardenCall,
}

/// Where nodes are started.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The control plane that they join.
    pub plane: &'a ControlPlane,
    /// The folder of their files.
    pub dir: &'a Path,
    /// The registry that they may speak to in plain HTTP.
    pub registry: SocketAddr,
}

impl Node {
    /// Starts a node and waits until its agent says that it is ready.
    pub fn start(site: &Site<'_>, name: &str, settings: &NodeSettings) -> Result<Self> {
        create_node(site.plane, name, settings)?;
        let dir = site.dir.join(name);
        fs::create_dir_all(&dir)?;
        let outside = settings.outside.clone();
        let gateway = outside.as_ref().map(|outside| start_gateway(&dir, outside));
        let gateway = gateway.transpose()?;
        let warden_call = WardenCall::of(&dir, settings);
        let warden = warden_call.start()?;
        let agent = AgentCall {
            kubeconfig: kubeconfig(site.plane, name, settings)?,
            listen: http::loopback(http::free_port()?),
            registry: site.registry,
            cores: settings.cores,
            overcommit_percent: settings.overcommit_percent,
            outside,
            node: name.to_owned(),
            dir,
        };
        let node = Self {
            name: name.to_owned(),
            warden,
            gateway: Mutex::new(gateway),
            agent: Mutex::new(agent.start()?),
            call: agent,
            warden_call,
        };
        node.wait_until_ready(&site.plane.api)?;
        Ok(node)
    }

    /// The warden's socket.
    pub fn warden_socket(&self) -> PathBuf {
        run_dir(&self.call.dir).join("warden.sock")
    }

    /// The socket of one namespace's cell.
    pub fn cell_socket(&self, namespace: &str) -> PathBuf {
        run_dir(&self.call.dir)
            .join("cells")
            .join(format!("{namespace}.sock"))
    }

    /// The folder with one bounded log file for each VM.
    pub fn log_dir(&self) -> PathBuf {
        self.call.dir.join("logs")
    }

    /// Does something to the agent's process.
    pub fn agent<T>(&self, act: impl FnOnce(&Process) -> Result<T>) -> Result<T> {
        act(&self.agent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts another agent in the place of one that has ended.
    pub fn restart_agent(&self) -> Result<()> {
        let new = self.call.start()?;
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Kills the gateway as a crash would.
    pub fn crash_gateway(&self) -> Result<()> {
        let mut gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        gateway.take().context("there is no gateway")?.crash()
    }

    /// Starts another gateway in the place of one that has ended.
    pub fn restart_gateway(&self) -> Result<()> {
        let outside = self.call.outside.as_ref();
        let outside = outside.context("the node has no gateway")?;
        let new = start_gateway(&self.call.dir, outside)?;
        *self.gateway.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
        Ok(())
    }

    /// The agent's socket of the gateway.
    pub fn gateway_socket(&self) -> PathBuf {
        gateway_dir(&self.call.dir).join("gateway.sock")
    }

    /// Starts a second agent for this node, with a warden of its own.
    pub fn start_twin(&self) -> Result<Twin> {
        let dir = self.call.dir.join("twin");
        fs::create_dir_all(&dir)?;
        let call = AgentCall {
            listen: http::loopback(http::free_port()?),
            dir,
            outside: None,
            ..self.call.clone()
        };
        Ok(Twin {
            warden: start_warden(&call.dir, self.warden_call.vms_per_cell)?,
            agent: call.start()?,
            address: call.listen,
        })
    }

    /// Starts another warden in the place of one that has ended.
    pub fn restart_warden(&mut self) -> Result<()> {
        self.warden = self.warden_call.start()?;
        Ok(())
    }

    /// What the warden or a cell answers to a `GET`.
    pub fn ask(&self, socket: &Path, path: &str) -> Result<Value> {
        let answer = http::get_unix(socket, path)?;
        serde_json::from_str(&answer.body).with_context(|| {
            format!(
                "GET {path} of {} gave HTTP {} {}",
                socket.display(),
                answer.status,
                answer.body
            )
        })
    }

    /// The cells that run on it, as the warden tells.
    pub fn cells(&self) -> Result<Vec<Value>> {
        let list = self.ask(&self.warden_socket(), "/v1/cells")?;
        Ok(list
            .get("cells")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default())
    }

    /// The process id of one namespace's cell.
    pub fn cell_pid(&self, namespace: &str) -> Result<Option<u32>> {
        let cells = self.cells()?;
        let cell = cells.iter().find(|cell| {
            cell.get("namespace")
                .is_some_and(|found| found == namespace)
        });
        let pid = cell
            .and_then(|cell| cell.get("pid"))
            .and_then(Value::as_u64);
        Ok(pid.map(u32::try_from).transpose()?)
    }

    /// The VMs in one namespace's cell, or none where there is no such cell.
    pub fn vms(&self, namespace: &str) -> Result<Vec<Value>> {
        if self.cell_pid(namespace)?.is_none() {
            return Ok(Vec::new());
        }
        let list = self.ask(&self.cell_socket(namespace), "/v1/vms")?;
        Ok(list
            .get("vms")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default())
    }

    /// Where the agent serves `/metrics`, `/healthz` and `/readyz`.
    pub fn agent_address(&self) -> SocketAddr {
        self.call.listen
    }

    /// The metrics' exposition.
    pub fn metrics(&self) -> Result<String> {
        Ok(http::get(self.call.listen, "/metrics")?.body)
    }

    /// Waits until the agent has written a Ready condition and serves `/readyz`.
    pub fn wait_until_ready(&self, api: &api::Api) -> Result<()> {
        wait::until(&format!("node {} to be ready", self.name), || {
            self.warden.must_run()?;
            self.agent(Process::must_run)?;
            let object = api.get(&format!(
                "/apis/agentvm.dev/v1alpha1/agentnodes/{}",
                self.name
            ))?;
            let ready = object.as_ref().is_some_and(|object| {
                crate::vm::condition(object, "Ready")
                    .is_some_and(|condition| condition.status == "True")
            });
            let serves =
                http::get(self.call.listen, "/readyz").is_ok_and(|answer| answer.status == 200);
            Ok(wait::yes_if(ready && serves, || {
                format!("AgentNode {object:?}, /readyz is 200: {serves}")
            }))
        })
    }

    /// Waits until no VM of that uid is in any cell.
    pub fn wait_until_gone(&self, namespace: &str, uid: &str) -> Result<()> {
        wait::until(&format!("VM {uid} to be gone from {}", self.name), || {
            let there = self
                .vms(namespace)?
                .into_iter()
                .find(|vm| vm.get("uid").is_some_and(|u| u == uid));
            Ok(there.map_or(Look::Yes(()), |vm| Look::NotYet(vm.to_string())))
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let told = panics::none_on(self).map_err(|error| format!("{error:#}"));
        assert_eq!(told, Ok(()), "a test has ended, and");
    }
}

fn kubeconfig(plane: &ControlPlane, name: &str, settings: &NodeSettings) -> Result<PathBuf> {
    let path = identity::node_agent(plane, name, settings.bound)?;
    if let Some(through) = settings.through {
        let direct = fs::read_to_string(&path)?;
        fs::write(
            &path,
            direct.replace(&plane.address()?.to_string(), &through.to_string()),
        )?;
    }
    Ok(path)
}

fn create_node(plane: &ControlPlane, name: &str, settings: &NodeSettings) -> Result<()> {
    let mut labels = settings.labels.clone();
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/hostname".to_owned(), json!(name));
    }
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": settings.taints},
    });
    plane.api.create("/api/v1/nodes", &node).map(|_| ())
}

/// A second agent that believes to be a node's.
#[derive(Debug)]
pub struct Twin {
    /// Its warden.
    pub warden: Process,
    /// The agent.
    pub agent: Process,
    /// Where it serves metrics and health.
    pub address: SocketAddr,
}
