//! From a name to its addresses: one lookup for a connection, by the configured servers alone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use agentvm_policy::budget;
use agentvm_policy::egress::DnsName;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ProtocolConfig, ResolveHosts,
    ResolverConfig,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use agentvm_policy::egress::Code;

/// How long one server may take for one question.
const ANSWER_WITHIN: Duration = budget::DNS_ANSWER.duration();

/// Resolves names.
#[derive(Debug)]
pub struct Resolver(TokioResolver);

impl Resolver {
    /// Asks `servers`, by UDP and, where an answer is cut, by TCP.
    ///
    /// # Errors
    ///
    /// Where the resolver can't be built: the platform's fault.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, NetError> {
        let servers = servers.iter().map(|server| {
            let connection = |protocol| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = server.port();
                connection
            };
            NameServerConfig::new(
                server.ip(),
                true,
                vec![
                    connection(ProtocolConfig::Udp),
                    connection(ProtocolConfig::Tcp),
                ],
            )
        });
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
        let mut builder =
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = ANSWER_WITHIN;
        options.attempts = 1;
        options.num_concurrent_reqs = 1;
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        // No other source than the servers, and no other name than the one that was permitted.
        options.use_hosts_file = ResolveHosts::Never;
        options.ndots = 0;
        options.cache_size = budget::DNS_NAMES.value;
        options.positive_max_ttl = Some(budget::DNS_KEPT.duration());
        options.negative_max_ttl = Some(budget::DNS_KEPT.duration());
        Ok(Self(builder.build()?))
    }

    /// Every address of `name`, of which there is at least one.
    ///
    /// # Errors
    ///
    /// [`Code::Dns`] where there is none or nobody can tell.
    pub async fn addresses(&self, name: &DnsName) -> Result<Vec<IpAddr>, Code> {
        // The final dot keeps search lists out of it.
        let found = self.0.lookup_ip(format!("{name}.")).await;
        let addresses: Vec<IpAddr> = match found {
            Ok(found) => found
                .iter()
                .take(budget::DNS_ADDRESSES.usize() + 1)
                .collect(),
            Err(NetError::Timeout) => return Err(Code::DnsTimeout),
            Err(_none_or_unknown) => return Err(Code::Dns),
        };
        if addresses.is_empty() || addresses.len() > budget::DNS_ADDRESSES.usize() {
            return Err(Code::Dns);
        }
        Ok(addresses)
    }
}
