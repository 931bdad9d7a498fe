//! One node: a Node object, its warden and its node agent as real processes, and its gateway where
//! a test asks for one.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::identity::{self, BoundTo};
use crate::process::Process;
use crate::wait::{self, Look};
use crate::{Result, api, cache, http, panics};

pub use crate::built::binary;

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

/// What to ask of a new node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Labels besides `kubernetes.io/hostname`.
    pub labels: Value,
    /// Taints.
    pub taints: Value,
    /// What its agent's token is bound to.
    pub bound: BoundTo,
    /// Whole cores that its VMs may be given in sum.
    pub cores: u32,
    /// How much of its cores and of its memory they may be promised, in percent.
    pub overcommit_percent: (u16, u16),
    /// What its agent speaks to instead of the API server.
    pub through: Option<SocketAddr>,
    /// VMs that one of its cells can hold.
    pub vms_per_cell: u32,
    /// Where its warden finds control groups, if not where the machine has them.
    pub cgroups: Option<PathBuf>,
    /// Where its gateway works; it has none where this is none.
    pub outside: Option<Outside>,
}

/// The network in which a node's gateway works: a test's own, so that nothing else is reached.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The file that stands for it.
    pub network: PathBuf,
    /// Who resolves names in it.
    pub name_server: SocketAddr,
    /// The authorities that its hosts are verified by.
    pub root_certificates: PathBuf,
}

impl NodeSettings {
    /// A node for everyone.
    pub fn open(bound: BoundTo) -> Self {
        Self {
            labels: json!({}),
            taints: json!([]),
            bound,
            cores: 16,
            overcommit_percent: (100, 100),
            through: None,
            vms_per_cell: 64,
            cgroups: None,
            outside: None,
        }
    }

    /// A node that takes only VMs that ask for it, so that a test may hurt it.
    pub fn reserved() -> Self {
        let taints = json!([{"key": "tests", "value": "reserved", "effect": "NoSchedule"}]);
        Self {
            labels: json!({}),
            taints,
            bound: BoundTo::Node,
            cores: 2,
            overcommit_percent: (100, 100),
            through: None,
            vms_per_cell: 64,
            cgroups: None,
            outside: None,
        }
    }

    /// A reserved node with room for some thousand small VMs, for measurements.
    pub fn large() -> Self {
        Self {
            cores: 64,
            vms_per_cell: 1_500,
            ..Self::reserved()
        }
    }
}

impl Node {
    /// Starts a node and waits until its agent says that it is ready.
    pub fn start(site: &Site<'_>, name: &str, settings: &NodeSettings) -> Result<Self> {
        create_node(site.plane, name, settings)?;
        let dir = site.dir.join(name);
        fs::create_dir_all(&dir)?;
        let cgroups = settings.cgroups.clone();
        let outside = settings.outside.clone();
        let gateway = outside.as_ref().map(|outside| start_gateway(&dir, outside));
        let gateway = gateway.transpose()?;
        let has_gateway = HasGateway::of(outside.as_ref());
        let cells = settings.vms_per_cell;
        let warden = start_warden_of(&dir, cells, cgroups.as_deref(), has_gateway)?;
        let agent = AgentCall {
            kubeconfig: kubeconfig(site.plane, name, settings)?,
            listen: http::loopback(http::free_port()?),
            registry: site.registry,
            cores: settings.cores,
            overcommit_percent: settings.overcommit_percent,
            vms_per_cell: settings.vms_per_cell,
            cgroups,
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
            warden: start_warden(&call.dir, call.vms_per_cell)?,
            agent: call.start()?,
            address: call.listen,
        })
    }

    /// Starts another warden in the place of one that has ended.
    pub fn restart_warden(&mut self) -> Result<()> {
        let AgentCall {
            dir,
            vms_per_cell,
            cgroups,
            outside,
            ..
        } = &self.call;
        let has_gateway = HasGateway::of(outside.as_ref());
        self.warden = start_warden_of(dir, *vms_per_cell, cgroups.as_deref(), has_gateway)?;
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

fn run_dir(dir: &Path) -> PathBuf {
    dir.join("run")
}

/// Starts a warden with its files in `dir`. Compiled code is shared by all wardens of all tests:
/// `CPython` takes seconds to compile.
pub fn start_warden(dir: &Path, vms_per_cell: u32) -> Result<Process> {
    start_warden_of(dir, vms_per_cell, None, HasGateway::No)
}

/// Whether a node's processes are told of a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HasGateway {
    Yes,
    No,
}

impl HasGateway {
    const fn of(outside: Option<&Outside>) -> Self {
        match outside {
            Some(_) => Self::Yes,
            None => Self::No,
        }
    }

    /// The flag for a node in `dir`.
    fn flag(self, dir: &Path) -> Option<String> {
        let flag = || format!("--gateway-dir={}", gateway_dir(dir).display());
        (self == Self::Yes).then(flag)
    }
}

fn gateway_dir(dir: &Path) -> PathBuf {
    dir.join("gw")
}

fn start_gateway(dir: &Path, outside: &Outside) -> Result<Process> {
    let program = binary("agentvm-gateway")?;
    Process::start("gateway", dir, "nsenter", |command| {
        command
            .arg(format!("--net={}", outside.network.display()))
            .arg("--")
            .arg(program)
            .arg("--dir")
            .arg(gateway_dir(dir))
            .args(["--name-server", &outside.name_server.to_string()])
            .arg("--root-certificates")
            .arg(&outside.root_certificates)
            .arg("--access-log")
            .arg(dir.join("access.log"))
    })
}

fn start_warden_of(
    dir: &Path,
    vms_per_cell: u32,
    cgroups: Option<&Path>,
    has_gateway: HasGateway,
) -> Result<Process> {
    let compiled = cache::dir()?.join("tests-compiled");
    for folder in [run_dir(dir), dir.join("logs"), compiled.clone()] {
        fs::create_dir_all(folder)?;
    }
    Process::start("warden", dir, binary("agentvm-cell")?, |command| {
        command
            .env_clear()
            .arg("warden")
            .arg("--run-dir")
            .arg(run_dir(dir))
            .arg("--cache-dir")
            .arg(compiled)
            .arg("--log-dir")
            .arg(dir.join("logs"))
            .args(["--max-vms-per-cell", &vms_per_cell.to_string()])
            .args(cgroups.map(|path| format!("--cgroup-dir={}", path.display())))
            .args(has_gateway.flag(dir))
    })
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

/// How a node's agent is started, again and again.
#[derive(Clone, Debug)]
struct AgentCall {
    node: String,
    dir: PathBuf,
    kubeconfig: PathBuf,
    listen: SocketAddr,
    registry: SocketAddr,
    cores: u32,
    overcommit_percent: (u16, u16),
    vms_per_cell: u32,
    cgroups: Option<PathBuf>,
    outside: Option<Outside>,
}

impl AgentCall {
    fn start(&self) -> Result<Process> {
        let (cpu, memory) = self.overcommit_percent;
        Process::start(
            "node-agent",
            &self.dir,
            binary("agentvm-node-agent")?,
            |command| {
                command
                    .env_clear()
                    .env("KUBECONFIG", &self.kubeconfig)
                    .args(["--node-name", &self.node])
                    .arg("--run-dir")
                    .arg(run_dir(&self.dir))
                    .args(["--listen", &self.listen.to_string()])
                    .args(["--insecure-registry", &self.registry.to_string()])
                    .args(["--memory", "4Gi", "--cpu", &self.cores.to_string()])
                    .args([
                        format!("--cpu-overcommit-percent={cpu}"),
                        format!("--memory-overcommit-percent={memory}"),
                    ])
                    .args(HasGateway::of(self.outside.as_ref()).flag(&self.dir))
                    .args(["--cluster-cidr", "10.96.0.0/12"])
            },
        )
    }
}
