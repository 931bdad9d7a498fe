//! What the gateway must know of its node: the addresses that are closed to every VM on it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use agentvm_cell_api::gateway;
use agentvm_policy::egress::Cidr;
use k8s_openapi::api::core::v1::Node;
use kube::api::GetParams;
use kube::{Api, Client};
use tokio::sync::watch;

use super::objects::say;

/// How often the Node is read: it may get its Pods' range late, and further addresses.
const READ_EVERY: Duration = Duration::from_mins(1);
/// How soon it is read again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(2);
/// Where a Pod finds the API server.
const API_SERVER: &str = "KUBERNETES_SERVICE_HOST";

/// What is known without the Node.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Ranges of the cluster.
    pub cluster: Vec<Cidr>,
    /// Where the agent listens.
    pub listens: Vec<SocketAddr>,
    /// The API server, where its address is one.
    pub api_server: Option<IpAddr>,
}

impl Given {
    /// Facts with the API server's address from the environment.
    pub fn new(cluster: &[Cidr], listens: SocketAddr) -> Self {
        let api_server = std::env::var(API_SERVER).ok();
        Self {
            cluster: cluster.to_vec(),
            listens: vec![listens],
            api_server: api_server.and_then(|host| host.parse().ok()),
        }
    }

    /// All facts together.
    pub fn with(&self, node: Option<&Node>) -> gateway::Node {
        let spec = node.and_then(|node| node.spec.as_ref());
        let status = node.and_then(|node| node.status.as_ref());
        let pods = spec.into_iter().flat_map(|spec| {
            let all = spec.pod_cidrs.iter().flatten();
            all.chain(&spec.pod_cidr)
        });
        let pods = pods.filter_map(|range| range.parse::<Cidr>().ok());
        let own: Vec<IpAddr> = status
            .into_iter()
            .flat_map(|status| status.addresses.iter().flatten())
            .filter_map(|address| address.address.parse().ok())
            .collect();
        let single = own.iter().chain(&self.api_server);
        let single = single.map(|address| Cidr::of(*address));
        let mut cluster: Vec<Cidr> = self.cluster.clone();
        cluster.extend(pods.chain(single));
        cluster.sort();
        cluster.dedup();
        let listens = self.listens.iter().flat_map(|listens| {
            let everywhere = listens.ip().is_unspecified();
            let of_node = own.iter().filter(move |_| everywhere);
            let of_node = of_node.map(|address| SocketAddr::new(*address, listens.port()));
            std::iter::once(*listens).chain(of_node)
        });
        gateway::Node {
            cluster,
            own: listens.collect(),
        }
    }
}

/// Keeps `facts` up to date, for ever. Nothing is said before the Node was read, or is known not
/// to be there.
pub async fn keep(
    client: Client,
    node: String,
    given: Given,
    facts: watch::Sender<Option<gateway::Node>>,
) {
    let api: Api<Node> = Api::all(client);
    loop {
        let wait = match read(&api, &node).await {
            Ok(found) => {
                let now = Some(given.with(found.as_ref()));
                facts.send_if_modified(|known| {
                    let differs = *known != now;
                    *known = now;
                    differs
                });
                READ_EVERY
            }
            Err(error) => {
                tracing::warn!(%node, error = %say(&error), "the Node's addresses can't be read");
                RETRY_AFTER
            }
        };
        tokio::time::sleep(wait).await;
    }
}

async fn read(api: &Api<Node>, name: &str) -> Result<Option<Node>, kube::Error> {
    match api.get_with(name, &GetParams::any()).await {
        Ok(node) => Ok(Some(node)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_known_of_the_node_is_closed() {
        let node = serde_json::from_value(json!({
            "spec": {"podCIDR": "10.8.3.0/24", "podCIDRs": ["10.8.3.0/24", "fd00:8:3::/64"]},
            "status": {"addresses": [
                {"type": "InternalIP", "address": "192.0.2.7"},
                {"type": "ExternalIP", "address": "198.51.100.7"},
                {"type": "Hostname", "address": "node-a"},
            ]},
        }))
        .unwrap();
        let given = Given {
            cluster: vec!["10.96.0.0/12".parse().unwrap()],
            listens: vec!["0.0.0.0:9810".parse().unwrap()],
            api_server: Some("10.96.0.1".parse().unwrap()),
        };
        let facts = given.with(Some(&node));
        let closed: Vec<String> = facts.cluster.iter().map(ToString::to_string).collect();
        for range in [
            "10.96.0.0/12",
            "10.8.3.0/24",
            "fd00:8:3::/64",
            "192.0.2.7",
            "198.51.100.7",
            "10.96.0.1",
        ] {
            assert!(closed.iter().any(|one| one == range), "{range}: {closed:?}");
        }
        assert_eq!(closed.len(), 6, "{closed:?}");
        let own: Vec<String> = facts.own.iter().map(ToString::to_string).collect();
        assert_eq!(own, ["0.0.0.0:9810", "192.0.2.7:9810", "198.51.100.7:9810"]);
        let alone = given.with(None);
        assert_eq!((alone.cluster.len(), alone.own.len()), (2, 1));
    }
}
