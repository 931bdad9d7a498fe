//! The command line of `agentvm-node-agent`.

use std::net::SocketAddr;
use std::path::PathBuf;

use agentvm_crds::quantity;
use agentvm_policy::egress::Cidr;

use crate::capacity::{self, Capacity, Overcommit};

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
    #[arg(
        long,
        env = "AGENTVM_RUN_DIR",
        value_name = "DIR",
        default_value = "/run/agentvm"
    )]
    pub run_dir: PathBuf,
    /// The gateway's directory: its socket is DIR/gateway.sock. Without it, VMs that ask for
    /// network are not started here.
    #[arg(long, env = "AGENTVM_GATEWAY_DIR", value_name = "DIR")]
    pub gateway_dir: Option<PathBuf>,
    /// A range of addresses of the cluster, such as that of its Services, which stays closed to
    /// every VM; may be given several times. The node's own addresses, its Pods' and that of the
    /// API server are known.
    #[arg(
        long = "cluster-cidr",
        env = "AGENTVM_CLUSTER_CIDRS",
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub cluster_cidrs: Vec<Cidr>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(
        long,
        env = "AGENTVM_LISTEN",
        value_name = "ADDR",
        default_value = "0.0.0.0:9810"
    )]
    pub listen: SocketAddr,
    /// Namespace of the node's Lease.
    #[arg(long, env = "AGENTVM_LEASE_NAMESPACE", value_name = "NAMESPACE", default_value = agentvm_crds::SYSTEM_NAMESPACE)]
    pub lease_namespace: String,
    /// Namespaces whose AgentVMs are served; may be given several times. Default: all.
    #[arg(
        long = "namespace",
        env = "AGENTVM_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ','
    )]
    pub namespaces: Vec<String>,
    /// Memory that the VMs of this node may be given in sum, such as 8Gi. Default: 80 % of what
    /// the cells have, else of the machine's, or of this container's limit where that is less.
    #[arg(long, env = "AGENTVM_MEMORY", value_name = "QUANTITY", value_parser = quantity::whole)]
    pub memory: Option<u64>,
    /// Cores that the VMs of this node may be given in sum, such as 4 or 1500m. Default: what
    /// the cells have, else the cores that this process may use.
    #[arg(long, env = "AGENTVM_CPU", value_name = "QUANTITY", value_parser = quantity::milli)]
    pub cpu: Option<u64>,
    /// How much of the CPU the VMs may be promised in sum, 1 to 1000 percent. Over 100, VMs that
    /// all want theirs at once get less.
    #[arg(long, env = "AGENTVM_CPU_OVERCOMMIT_PERCENT", value_name = "PERCENT", default_value_t = 100, value_parser = percent())]
    pub cpu_overcommit_percent: u16,
    /// How much of the memory the VMs may be promised in sum, 1 to 1000 percent. Over 100, VMs that
    /// all use theirs at once lose their cells.
    #[arg(long, env = "AGENTVM_MEMORY_OVERCOMMIT_PERCENT", value_name = "PERCENT", default_value_t = 100, value_parser = percent())]
    pub memory_overcommit_percent: u16,
    /// VMs at once. Default: what one cell can hold, and what the node's `vm.max_map_count`
    /// allows at 6 maps a VM.
    #[arg(long, env = "AGENTVM_MAX_VMS", value_name = "N")]
    pub max_vms: Option<u32>,
    /// Memory limit of the container that the cells run in, in bytes, as the downward API tells.
    #[arg(long, env = "AGENTVM_CELLS_MEMORY_BYTES", value_name = "BYTES")]
    pub cells_memory_bytes: Option<u64>,
    /// CPU limit of the container that the cells run in, in thousandths of cores.
    #[arg(long, env = "AGENTVM_CELLS_CPU_MILLICORES", value_name = "MILLICORES")]
    pub cells_cpu_millicores: Option<u64>,
    /// A registry that is spoken to in plain HTTP; may be given several times. Default: none.
    #[arg(
        long = "insecure-registry",
        env = "AGENTVM_INSECURE_REGISTRIES",
        value_name = "HOST[:PORT]",
        value_delimiter = ','
    )]
    pub insecure_registries: Vec<String>,
}

impl Flags {
    /// The capacity as given.
    pub fn capacity(&self) -> Capacity {
        Capacity {
            memory_bytes: self
                .memory
                .or(self.cells_memory_bytes.map(capacity::vms_part)),
            cpu_millicores: self.cpu.or(self.cells_cpu_millicores),
            vms: self.max_vms,
            overcommit: Overcommit {
                cpu_percent: self.cpu_overcommit_percent,
                memory_percent: self.memory_overcommit_percent,
            },
        }
    }
}

fn percent() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=1000)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::Flags;
    use crate::capacity::Overcommit;

    fn capacity(args: &[&str]) -> (Option<u64>, Option<u64>) {
        let flags = Flags::parse_from(["agent", "--node-name", "n"].iter().chain(args));
        (
            flags.capacity().memory_bytes,
            flags.capacity().cpu_millicores,
        )
    }

    #[test]
    fn what_the_cells_container_may_use_is_the_capacity_less_a_reserve() {
        let cells = [
            "--cells-memory-bytes=1000000",
            "--cells-cpu-millicores=1500",
        ];
        assert_eq!(capacity(&cells), (Some(800_000), Some(1500)));
        let given = [cells[0], cells[1], "--memory=7", "--cpu=1"];
        assert_eq!(capacity(&given), (Some(7), Some(1000)));
    }

    #[test]
    fn nothing_is_promised_twice_unless_somebody_says_so_within_bounds() {
        let parse = |args: &[&str]| {
            let given = ["agent", "--node-name", "n"].iter().chain(args);
            Flags::try_parse_from(given).map(|flags| flags.capacity().overcommit)
        };
        let overcommit = |cpu_percent, memory_percent| Overcommit {
            cpu_percent,
            memory_percent,
        };
        assert_eq!(parse(&[]).unwrap(), overcommit(100, 100));
        let given = [
            "--cpu-overcommit-percent=1000",
            "--memory-overcommit-percent=1",
        ];
        assert_eq!(parse(&given).unwrap(), overcommit(1000, 1));
        for flag in ["cpu", "memory"] {
            for bad in ["0", "1001", "-1", "50%", ""] {
                let given = format!("--{flag}-overcommit-percent={bad}");
                assert!(parse(&[&given]).is_err(), "{given}");
            }
        }
    }
}
