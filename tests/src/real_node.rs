//! One real Kubernetes node: kubelet, containerd, runc and a network, as users have them.
//!
//! Everything is inside namespaces of its own (see [`sandbox`]), with no way off the machine.
//! Dropping the node, or the end of the process that made it, ends every process and mount of
//! it: the kernel does, whatever state they are in.

pub mod cgroups;
pub mod containerd;
pub mod kubelet;
pub mod network;
pub mod sandbox;
pub mod stage;
pub mod standing;

use std::path::{Path, PathBuf};

use anyhow::bail;

use self::cgroups::Cgroups;
use self::containerd::Containerd;
use self::sandbox::Sandbox;
use crate::Result;
use crate::assets::Program;
use crate::control_plane::{ControlPlane, Serves};
use crate::process::Process;
use crate::vm::condition;
use crate::wait::{self, Look};

/// The name of the node.
pub const NODE: &str = "flint";

/// A node with its control plane.
///
/// Fields are dropped in order: first who starts things, then what they started.
#[derive(Debug)]
pub struct RealNode {
    kubelet: Process,
    scheduler: Process,
    proxy: Process,
    /// The control plane.
    pub plane: ControlPlane,
    /// The container runtime.
    pub containerd: Containerd,
    /// The namespaces.
    pub sandbox: Sandbox,
    /// Where Pods' resources are limited.
    pub cgroups: Cgroups,
    dir: PathBuf,
}

impl RealNode {
    /// Starts a node with its files in `dir` and waits until it is Ready.
    ///
    /// The calling thread, and every thread that it starts from now on, is moved into the
    /// node's network.
    pub fn start(dir: &Path) -> Result<Self> {
        may_start()?;
        let sandbox = Sandbox::start(dir)?;
        sandbox.enter_network()?;
        network::set_up(dir)?;
        let cgroups = Cgroups::create()?;
        let containerd = Containerd::start(&sandbox, dir)?;
        let plane = ControlPlane::start_for(Serves::Nodes(network::NODE_ADDRESS), dir)?;
        let node = Self {
            scheduler: start_scheduler(&plane, dir)?,
            proxy: start_proxy(&plane, dir)?,
            kubelet: kubelet::start(&sandbox, &plane, &cgroups, &containerd, dir)?,
            plane,
            containerd,
            sandbox,
            cgroups,
            dir: dir.to_owned(),
        };
        node.wait_until_ready()?;
        Ok(node)
    }

    /// Fails with a log's end where one of its processes has ended.
    pub fn must_run(&self) -> Result<()> {
        self.plane.must_run()?;
        self.containerd.must_run()?;
        self.scheduler.must_run()?;
        self.proxy.must_run()?;
        self.kubelet.must_run()
    }

    /// The folder of its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn wait_until_ready(&self) -> Result<()> {
        let path = format!("/api/v1/nodes/{NODE}");
        wait::until("the kubelet to be ready", || {
            self.must_run()?;
            let Some(node) = self.plane.api.get(&path)? else {
                return Ok(Look::NotYet("it has not registered".to_owned()));
            };
            let ready = condition(&node, "Ready");
            Ok(match ready {
                Some(ready) if ready.status == "True" => Look::Yes(()),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
    }
}

/// Whether this process may start a node, or one sentence on what is missing.
fn may_start() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("a real node needs root (namespaces, mounts, cgroups): run this as root, as CI does");
    }
    let on_path = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let sbin = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        std::env::split_paths(&path)
            .chain(sbin)
            .any(|folder| folder.join(program).is_file())
    };
    for (program, package) in [
        ("containerd", "containerd"),
        ("ctr", "containerd"),
        ("runc", "runc"),
        ("ip", "iproute2"),
        ("iptables", "iptables"),
        ("unshare", "util-linux"),
    ] {
        if !on_path(program) {
            bail!("a real node needs `{program}`: run `apt-get install {package}`");
        }
    }
    if !Path::new(network::PLUGINS).join("bridge").is_file() {
        bail!(
            "a real node needs {}/bridge: run `apt-get install containernetworking-plugins`",
            network::PLUGINS
        );
    }
    Ok(())
}

fn start_scheduler(plane: &ControlPlane, dir: &Path) -> Result<Process> {
    let user = "system:kube-scheduler";
    let kubeconfig = plane.kubeconfig_of_member("scheduler", user, user)?;
    Process::start(
        "kube-scheduler",
        dir,
        Program::Scheduler.locate()?,
        |command| {
            command
                .arg(format!("--kubeconfig={}", kubeconfig.display()))
                .args(["--leader-elect=false", "--bind-address=127.0.0.1"])
        },
    )
}

fn start_proxy(plane: &ControlPlane, dir: &Path) -> Result<Process> {
    let user = "system:kube-proxy";
    let kubeconfig = plane.kubeconfig_of_member("proxy", user, "system:node-proxier")?;
    Process::start("kube-proxy", dir, Program::Proxy.locate()?, |command| {
        command
            .arg(format!("--kubeconfig={}", kubeconfig.display()))
            .args([
                &format!("--hostname-override={NODE}"),
                "--cluster-cidr=10.244.0.0/16",
            ])
            // The kernel's table is the whole machine's: not ours to size.
            .args(["--conntrack-max-per-core=0", "--proxy-mode=iptables"])
    })
}
