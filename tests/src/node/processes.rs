//! How the processes of a node are started.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{NodeSettings, Outside};
use crate::built::binary;
use crate::process::Process;
use crate::{Result, cache};

pub(super) fn run_dir(dir: &Path) -> PathBuf {
    dir.join("run")
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

pub(super) fn gateway_dir(dir: &Path) -> PathBuf {
    dir.join("gw")
}

pub(super) fn start_gateway(dir: &Path, outside: &Outside) -> Result<Process> {
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

/// Starts a warden with its files in `dir`.
pub fn start_warden(dir: &Path, vms_per_cell: u32) -> Result<Process> {
    let call = WardenCall {
        dir: dir.to_owned(),
        vms_per_cell,
        max_cells: None,
        cgroups: None,
        has_gateway: HasGateway::No,
    };
    call.start()
}

/// How a node's warden is started, again and again.
#[derive(Clone, Debug)]
pub(super) struct WardenCall {
    dir: PathBuf,
    pub(super) vms_per_cell: u32,
    max_cells: Option<u32>,
    cgroups: Option<PathBuf>,
    has_gateway: HasGateway,
}

impl WardenCall {
    /// That of a node in `dir`.
    pub(super) fn of(dir: &Path, settings: &NodeSettings) -> Self {
        Self {
            dir: dir.to_owned(),
            vms_per_cell: settings.vms_per_cell,
            max_cells: settings.max_cells,
            cgroups: settings.cgroups.clone(),
            has_gateway: HasGateway::of(settings.outside.as_ref()),
        }
    }

    /// Compiled code is shared by all wardens of all tests: `CPython` takes seconds to compile.
    pub(super) fn start(&self) -> Result<Process> {
        let dir = &self.dir;
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
                .args(["--max-vms-per-cell", &self.vms_per_cell.to_string()])
                .args(self.max_cells.map(|most| format!("--max-cells={most}")))
                .args(
                    self.cgroups
                        .as_ref()
                        .map(|path| format!("--cgroup-dir={}", path.display())),
                )
                .args(self.has_gateway.flag(dir))
        })
    }
}

/// How a node's agent is started, again and again.
#[derive(Clone, Debug)]
pub(super) struct AgentCall {
    pub(super) node: String,
    pub(super) dir: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) listen: SocketAddr,
    pub(super) registry: SocketAddr,
    pub(super) cores: u32,
    pub(super) overcommit_percent: (u16, u16),
    pub(super) outside: Option<Outside>,
}

impl AgentCall {
    pub(super) fn start(&self) -> Result<Process> {
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
