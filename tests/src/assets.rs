//! The programs of a control plane and of a node: from `KUBEBUILDER_ASSETS` where they are there,
//! else built from Go modules into the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::program::stdout_of;
use crate::{Result, cache};

/// The Kubernetes version that tests run against.
pub const KUBERNETES: &str = "1.35.4";
/// The etcd version that tests run against.
pub const ETCD: &str = "3.6.15";

/// A program of Kubernetes, or etcd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// etcd.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controller manager.
    ControllerManager,
    /// kubectl.
    Kubectl,
    /// Places Pods.
    Scheduler,
    /// Runs Pods.
    Kubelet,
    /// Makes Services reachable.
    Proxy,
}

/// Programs that are built together, into one folder of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Set {
    /// What every test of a cluster needs.
    ControlPlane,
    /// What a node needs besides.
    Node,
}

impl Set {
    const ALL: [Self; 2] = [Self::ControlPlane, Self::Node];

    /// In the order in which they are built.
    const fn programs(self) -> &'static [Program] {
        match self {
            Self::ControlPlane => &[
                Program::Etcd,
                Program::Kubectl,
                Program::ControllerManager,
                Program::ApiServer,
            ],
            Self::Node => &[Program::Scheduler, Program::Kubelet, Program::Proxy],
        }
    }

    fn folder(self) -> String {
        match self {
            Self::ControlPlane => format!("controlplane-{KUBERNETES}-{ETCD}"),
            Self::Node => format!("node-{KUBERNETES}"),
        }
    }
}

impl Program {
    /// Its file name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
        }
    }

    const fn set(self) -> Set {
        match self {
            Self::Etcd | Self::ApiServer | Self::ControllerManager | Self::Kubectl => {
                Set::ControlPlane
            }
            Self::Scheduler | Self::Kubelet | Self::Proxy => Set::Node,
        }
    }

    /// Where it is, built if need be.
    pub fn locate(self) -> Result<PathBuf> {
        if let Some(dir) = std::env::var_os("KUBEBUILDER_ASSETS") {
            let given = PathBuf::from(dir).join(self.name());
            if given.is_file() {
                return Ok(given);
            }
        }
        let set = self.set();
        Ok(cache::once(&set.folder(), |out| build(set.programs(), out))?.join(self.name()))
    }
}

/// Locates every program; builds what is missing and says so on standard error.
pub fn locate_all() -> Result<Vec<PathBuf>> {
    let programs = Set::ALL.into_iter().flat_map(Set::programs);
    programs.map(|program| program.locate()).collect()
}

fn build(programs: &[Program], out: &Path) -> Result<()> {
    let out = fs::canonicalize(out)?;
    progress("building from Go modules: about 10 minutes on two cores, once");
    let kubernetes = kubernetes_module(&out.join("kubernetes.src"), programs)?;
    for (at, program) in programs.iter().enumerate() {
        progress(&format!(
            "building {} ({} of {})",
            program.name(),
            at + 1,
            programs.len()
        ));
        let started = Instant::now();
        let (module, package) = match program {
            Program::Etcd => (etcd_module(&out.join("etcd.src"))?, ".".to_owned()),
            Program::ApiServer
            | Program::ControllerManager
            | Program::Kubectl
            | Program::Scheduler
            | Program::Kubelet
            | Program::Proxy => (
                kubernetes.clone(),
                format!("k8s.io/kubernetes/cmd/{}", program.name()),
            ),
        };
        let version = format!("-s -w -X k8s.io/component-base/version.gitVersion=v{KUBERNETES}");
        let mut build = go(&module);
        build
            .args(["build", "-ldflags", &version, "-o"])
            .arg(out.join(program.name()))
            .arg(package);
        stdout_of(&mut build)?;
        progress(&format!(
            "built {} in {} s",
            program.name(),
            started.elapsed().as_secs()
        ));
        if *program == Program::Etcd {
            fs::remove_dir_all(module)?;
        }
    }
    fs::remove_dir_all(kubernetes)?;
    Ok(())
}

/// A module whose `main` is etcd's: etcd publishes its server as a library, but no command.
fn etcd_module(dir: &Path) -> Result<PathBuf> {
    let main = "package main\n\nimport (\n\t\"os\"\n\n\t\"go.etcd.io/etcd/server/v3/etcdmain\"\n)\n\n\
                func main() { etcdmain.Main(os.Args) }\n";
    fs::create_dir_all(dir)?;
    fs::write(dir.join("main.go"), main)?;
    fs::write(
        dir.join("go.mod"),
        format!(
            "module agentvm.invalid/etcd\n\ngo 1.24\n\nrequire go.etcd.io/etcd/server/v3 v{ETCD}\n"
        ),
    )?;
    stdout_of(go(dir).args(["mod", "tidy"]))?;
    Ok(dir.to_owned())
}

/// A module that imports Kubernetes' commands. Kubernetes names its own libraries by relative
/// paths that are not part of the published module: each is published as v0.MINOR.PATCH.
fn kubernetes_module(dir: &Path, programs: &[Program]) -> Result<PathBuf> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join("go.mod"), "module agentvm.invalid/kubernetes\n")?;
    let staged = KUBERNETES
        .strip_prefix("1.")
        .context("a Kubernetes 1 version")?;
    let replaced: Vec<String> = staged_libraries(dir)?
        .into_iter()
        .map(|library| format!("replace {library} => {library} v0.{staged}"))
        .collect();
    fs::write(
        dir.join("go.mod"),
        format!(
            "module agentvm.invalid/kubernetes\n\ngo 1.25\n\nrequire k8s.io/kubernetes v{KUBERNETES}\n\n{}\n",
            replaced.join("\n")
        ),
    )?;
    let imported: Vec<String> = programs
        .iter()
        .filter(|program| **program != Program::Etcd)
        .map(|program| format!("import _ \"k8s.io/kubernetes/cmd/{}\"", program.name()))
        .collect();
    fs::write(
        dir.join("tools.go"),
        format!(
            "//go:build tools\n\npackage tools\n\n{}\n",
            imported.join("\n")
        ),
    )?;
    stdout_of(go(dir).args(["mod", "tidy"]))?;
    Ok(dir.to_owned())
}

fn staged_libraries(dir: &Path) -> Result<Vec<String>> {
    let module = format!("k8s.io/kubernetes@v{KUBERNETES}");
    let facts = stdout_of(go(dir).args(["mod", "download", "-json", &module]))?;
    let facts: serde_json::Value = serde_json::from_str(&facts)?;
    let manifest = facts
        .get("GoMod")
        .and_then(|path| path.as_str())
        .context("go names no GoMod")?;
    let manifest = fs::read_to_string(manifest)?;
    let mut libraries: Vec<String> = manifest
        .lines()
        .filter_map(|line| line.trim().split_once(" => ./staging/"))
        .map(|(library, _)| library.trim_start_matches("replace ").to_owned())
        .collect();
    libraries.sort();
    libraries.dedup();
    Ok(libraries)
}

fn go(dir: &Path) -> Command {
    let mut command = Command::new("go");
    command
        .current_dir(dir)
        .env("CGO_ENABLED", "0")
        .env("GOFLAGS", "-mod=mod -buildvcs=false");
    command
}

#[expect(clippy::print_stderr, reason = "a build of minutes says what it does")]
fn progress(sentence: &str) {
    eprintln!("kubernetes: {sentence}");
}
