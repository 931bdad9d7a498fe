//! The one cluster of a test binary: control plane, operator, two nodes, a registry.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, anyhow};

use crate::control_plane::ControlPlane;
use crate::identity::BoundTo;
use crate::node::{Node, NodeSettings, Site};
use crate::operator::Operator;
use crate::registry::Registry;
use crate::wait::{self, Look};
use crate::{Result, crd, panics, scratch, workspace};

/// Everything that runs for a test binary.
#[derive(Debug)]
pub struct Cluster {
    /// The control plane.
    pub plane: &'static ControlPlane,
    /// The registry.
    pub registry: Registry,
    /// Two nodes for everyone.
    pub nodes: [Node; 2],
    dir: PathBuf,
    operator: Mutex<Operator>,
}

/// The control plane alone, with our CRDs, roles and admission policies installed.
pub fn installed() -> Result<&'static ControlPlane> {
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    first_error(PLANE.get_or_init(|| {
        install("cp", &["crds/yaml", "deploy"]).map_err(|error| format!("{error:?}"))
    }))
}

static CLUSTER: OnceLock<Result<Cluster, String>> = OnceLock::new();

/// The whole cluster.
pub fn shared() -> Result<&'static Cluster> {
    first_error(CLUSTER.get_or_init(|| start().map_err(|error| format!("{error:?}"))))
}

/// Fails where host code has panicked on a node that all tests share.
pub fn no_panics() -> Result<()> {
    let Some(Ok(cluster)) = CLUSTER.get() else {
        return Ok(());
    };
    cluster.nodes.iter().try_for_each(panics::none_on)
}

impl Cluster {
    /// The node of that name among the two.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.name == name)
            .with_context(|| format!("no node {name:?}"))
    }

    /// Starts one more node, for one test.
    pub fn add_node(&self, name: &str, settings: &NodeSettings) -> Result<Node> {
        Node::start(&self.site(), name, settings)
    }

    fn site(&self) -> Site<'_> {
        Site {
            plane: self.plane,
            dir: &self.dir,
            registry: self.registry.address,
        }
    }

    /// Does something to the operator.
    pub fn operator<T>(&self, act: impl FnOnce(&Operator) -> Result<T>) -> Result<T> {
        act(&self.operator.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another operator in the place of the present one, and gives that one.
    pub fn replace_operator(&self, new: Operator) -> Operator {
        let mut operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *operator, new)
    }

    /// Starts one more replica of the operator.
    pub fn start_operator(&self, name: &str) -> Result<Operator> {
        Operator::start(self.plane, &self.dir, name)
    }
}

fn first_error<T>(result: &Result<T, String>) -> Result<&T> {
    result
        .as_ref()
        .map_err(|error| anyhow!("the shared cluster did not start: {error}"))
}

/// Starts a control plane and applies these folders and files of the workspace.
pub fn install(scratch_name: &str, sources: &[&str]) -> Result<ControlPlane> {
    let plane = ControlPlane::start(&scratch::dir(scratch_name)?)?;
    let kubectl = |args: &[&str]| plane.kubectl.run(args).and_then(crate::kubectl::Said::done);
    for folder in sources {
        let folder = workspace::root().join(folder);
        let folder = folder.to_str().context("the checkout's path is UTF-8")?;
        kubectl(&["apply", "--server-side", "-f", folder])
            .with_context(|| format!("installing {folder}"))?;
    }
    crd::wait_until_established(&plane)?;
    wait::until("the API server to serve our kinds", || {
        Ok(
            match plane.api.get("/apis/agentvm.dev/v1alpha1/agentvms")? {
                Some(_) => Look::Yes(()),
                None => Look::NotYet("404".to_owned()),
            },
        )
    })?;
    Ok(plane)
}

fn start() -> Result<Cluster> {
    let plane = installed()?;
    let dir = scratch::dir("n")?;
    let operator = Mutex::new(Operator::start(plane, &dir, "operator-0")?);
    let registry = Registry::start(&dir)?;
    let site = Site {
        plane,
        dir: &dir,
        registry: registry.address,
    };
    let nodes = std::thread::scope(|scope| {
        let other = scope.spawn(|| Node::start(&site, "beryl", &NodeSettings::open(BoundTo::Pod)));
        let one = Node::start(&site, "amber", &NodeSettings::open(BoundTo::Node))?;
        match other.join() {
            Ok(other) => anyhow::Ok([one, other?]),
            Err(_panic) => Err(anyhow!("starting a node panicked")),
        }
    })?;
    Ok(Cluster {
        plane,
        registry,
        nodes,
        dir,
        operator,
    })
}
