//! The node's network: a bridge for the node's own address, one for its Pods, and no uplink.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::json;

use crate::Result;
use crate::program::stdout_of;

/// The node's address, and the API server's.
pub const NODE_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
/// Where Debian puts CNI plugins.
pub const PLUGINS: &str = "/usr/lib/cni";

/// Sets up the network of the calling thread, and what the container runtime reads about it.
pub fn set_up(dir: &Path) -> Result<()> {
    for line in [
        "link set lo up",
        "link add node0 type bridge",
        "addr add 10.77.0.1/24 dev node0",
        "link set node0 up",
        // So that a Service's address has a route before it is rewritten.
        "route add default dev node0",
    ] {
        stdout_of(Command::new("ip").args(line.split(' ')))?;
    }
    let forward = "/proc/sys/net/ipv4/ip_forward";
    fs::write(forward, "1").with_context(|| format!("writing {forward}"))?;
    let pods = json!({
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": dir.join("ipam"),
                    "ranges": [[{"subnet": "10.244.1.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    let folder = config_dir(dir);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("10-pods.conflist"), pods.to_string())?;
    Ok(())
}

/// The folder with the network's description.
pub fn config_dir(dir: &Path) -> PathBuf {
    dir.join("cni")
}
