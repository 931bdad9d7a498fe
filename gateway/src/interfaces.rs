//! The addresses of the network that this process is in, read once before the jail closes: what
//! listens "everywhere" here listens on each of them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use agentvm_cell_api::gateway::Node;

/// Where the kernel tells them.
const IPV4: &str = "/proc/net/fib_trie";
const IPV6: &str = "/proc/net/if_inet6";

/// The addresses of this network, as far as the kernel tells them.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut all = of_fib_trie(&read(IPV4));
    all.extend(of_if_inet6(&read(IPV6)));
    all.sort();
    all.dedup();
    all
}

/// Closes each of `addresses` where the platform listens on all of them: a node's pods share one
/// network, so the agent's port is open on the pod's own address as well.
pub(crate) fn expand(node: Node, addresses: &[IpAddr]) -> Node {
    let everywhere = |listens: &&SocketAddr| listens.ip().is_unspecified();
    let ports = node.own.iter().filter(everywhere).map(SocketAddr::port);
    let each = ports.flat_map(|port| addresses.iter().map(move |ip| (*ip, port).into()));
    let mut own: Vec<SocketAddr> = node.own.iter().copied().chain(each).collect();
    own.sort();
    own.dedup();
    Node { own, ..node }
}

/// Each address stands in a line of its own, and what it is in the lines below.
fn of_fib_trie(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let mut address: Option<IpAddr> = None;
    for line in text.lines().map(str::trim) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(address);
        }
    }
    found
}

fn of_if_inet6(text: &str) -> Vec<IpAddr> {
    let address = |line: &str| {
        let digits = line.split_ascii_whitespace().next()?;
        let bits = u128::from_str_radix(digits, 16).ok()?;
        Some(IpAddr::V6(Ipv6Addr::from_bits(bits)))
    };
    text.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_for_this_networks_addresses_are_understood() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    \x20    |-- 10.244.1.7\n           /32 host LOCAL\n\
                    \x20    |-- 10.244.1.255\n           /32 link BROADCAST\n\
                    \x20    |-- 127.0.0.1\n           /32 host LOCAL\n";
        let found: Vec<String> = of_fib_trie(trie).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.244.1.7", "127.0.0.1"]);
        let inet6 = "fe800000000000000000000000000007 02 40 20 80     eth0\n";
        let found = of_if_inet6(inet6);
        assert_eq!(found, ["fe80::7".parse::<IpAddr>().unwrap()]);
        assert!(addresses().contains(&"127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn f16_what_listens_everywhere_is_closed_on_every_address_of_the_pod() {
        let node = Node {
            cluster: Vec::new(),
            own: vec![
                "0.0.0.0:9810".parse().unwrap(),
                "192.0.2.1:7".parse().unwrap(),
            ],
        };
        let pod: IpAddr = "10.244.1.7".parse().unwrap();
        let own = expand(node, &[pod]).own;
        assert!(own.contains(&SocketAddr::new(pod, 9810)), "{own:?}");
        assert!(!own.contains(&SocketAddr::new(pod, 7)), "{own:?}");
        assert_eq!(own.len(), 3);
    }
}
