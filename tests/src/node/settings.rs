//! What a test asks of a new node.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::identity::BoundTo;

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
    /// Cells at once; as many as the machine has room for where this is none.
    pub max_cells: Option<u32>,
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
            max_cells: None,
            cgroups: None,
            outside: None,
        }
    }

    /// A node that takes only VMs that ask for it, so that a test may hurt it.
    pub fn reserved() -> Self {
        let taints = json!([{"key": "tests", "value": "reserved", "effect": "NoSchedule"}]);
        Self {
            taints,
            cores: 2,
            ..Self::open(BoundTo::Node)
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
