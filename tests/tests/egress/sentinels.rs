//! Listeners on addresses that no VM may reach.

use agentvm_tests::internet::upstream::{self, Seen, ok};

/// Metadata services, the API server, kubelet, etcd, the node and its loopback.
const ADDRESSES: [&str; 12] = [
    "169.254.169.254:80",
    "[fd00:ec2::254]:80",
    "100.100.100.200:80",
    "192.0.0.192:80",
    "10.96.0.1:443",
    "10.0.0.1:10250",
    "10.0.0.1:2379",
    "127.0.0.1:80",
    "127.0.0.1:8080",
    "[::1]:80",
    "192.168.1.1:80",
    "172.16.0.1:443",
];

/// All of them.
pub(crate) struct Sentinels(Vec<(&'static str, Seen)>);

impl Sentinels {
    pub(crate) async fn listen() -> Self {
        let mut all = Vec::new();
        for address in ADDRESSES {
            all.push((address, upstream::plain(address, ok("sentinel")).await));
        }
        Self(all)
    }

    /// A URL for each.
    pub(crate) fn urls(&self) -> Vec<String> {
        let url = |(address, _): &(&str, Seen)| format!("http://{address}/latest/meta-data/");
        self.0.iter().map(url).collect()
    }

    /// That nobody has connected to any of them.
    pub(crate) fn assert_untouched(&self) {
        for (address, seen) in &self.0 {
            assert_eq!(seen.connections(), 0, "{address} was reached");
        }
    }
}
