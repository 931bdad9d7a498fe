//! The command line of `agentvm-node-agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use agentvm_crds::quantity;

use crate::capacity::Capacity;

/// Runs the `AgentVM`s that are assigned to one node.
///
/// Reads KUBECONFIG, or a Pod's service account. Logs JSON lines to stderr; `AGENTVM_LOG`
/// sets what is logged (default: info).
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "agentvm-node-agent", version)]
pub struct Flags {
    /// Name of the Node that this agent serves.
    #[arg(long, env = "AGENTVM_NODE_NAME", value_name = "NAME")]
    pub node_name: String,
    /// The warden's run directory: its socket is DIR/warden.sock. The agent keeps its identity
    /// there (DIR/agent.id), so that one that is started again is the same one.
    #[arg(long, env = "AGENTVM_RUN_DIR", value_name = "DIR", default_value = "/run/agentvm")]
    pub run_dir: PathBuf,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, env = "AGENTVM_LISTEN", value_name = "ADDR", default_value = "0.0.0.0:9810")]
    pub listen: SocketAddr,
    /// Namespace of the node's Lease.
    #[arg(long, env = "AGENTVM_LEASE_NAMESPACE", value_name = "NAMESPACE", default_value = agentvm_crds::SYSTEM_NAMESPACE)]
    pub lease_namespace: String,
    /// Memory that the VMs of this node may be given in sum, such as 8Gi. Default: 80 % of the
    /// machine's, or of the container's limit where that is less.
    #[arg(long, env = "AGENTVM_MEMORY", value_name = "QUANTITY", value_parser = quantity::whole)]
    pub memory: Option<u64>,
    /// Cores that the VMs of this node may be given in sum, such as 4 or 1500m. Default: the
    /// cores that this process may use.
    #[arg(long, env = "AGENTVM_CPU", value_name = "QUANTITY", value_parser = quantity::milli)]
    pub cpu: Option<u64>,
    /// VMs at once. Default: what one cell can hold, and what the node's `vm.max_map_count`
    /// allows at 6 maps a VM.
    #[arg(long, env = "AGENTVM_MAX_VMS", value_name = "N")]
    pub max_vms: Option<u32>,
    /// A registry that is spoken to in plain HTTP; may be given several times. Default: none.
    #[arg(long = "insecure-registry", env = "AGENTVM_INSECURE_REGISTRIES", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub insecure_registries: Vec<String>,
}

impl Flags {
    /// The capacity as given.
    pub fn capacity(&self) -> Capacity {
        Capacity { memory_bytes: self.memory, cpu_millicores: self.cpu, vms: self.max_vms }
    }
}
