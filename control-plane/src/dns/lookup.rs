//! Asks name servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// No question takes longer, whatever the system's resolver is configured for. New documents may wait for it.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there are no addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The answer had none.
    #[error("the name has no addresses")]
    Empty,
    /// No name server answered in time.
    #[error("no answer within {TIMEOUT:?}")]
    Timeout,
    /// As the resolver says it.
    #[error("{0}")]
    Failed(String),
}

/// Whoever knows addresses.
pub trait Lookup: Send + Sync + 'static {
    /// The addresses of a name, in any order.
    fn lookup(&self, host: &str) -> impl Future<Output = Result<Vec<IpAddr>, LookupError>> + Send;
}

/// The system's name servers, or others.
#[derive(Debug)]
pub struct NameServers(TokioResolver);

/// The resolver can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the configuration of the system's resolver can't be read")]
pub struct Unusable(#[source] hickory_resolver::net::NetError);

impl NameServers {
    /// Those at `servers`, or where there are none, those of the system (`/etc/resolv.conf`). `/etc/hosts` comes first in both cases.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, Unusable> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(Unusable)?
        } else {
            let servers = servers.iter().map(name_server).collect();
            let config = ResolverConfig::from_name_servers(servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        // How often to ask is said by the documents.
        options.cache_size = 0;
        options.timeout = options.timeout.min(TIMEOUT / 2);
        Ok(Self(builder.build().map_err(Unusable)?))
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

impl Lookup for NameServers {
    async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, LookupError> {
        match tokio::time::timeout(TIMEOUT, self.0.lookup_ip(host)).await {
            Ok(Ok(found)) => Ok(found.iter().collect()),
            Ok(Err(error)) if error.is_no_records_found() => Err(LookupError::Empty),
            Ok(Err(error)) => Err(LookupError::Failed(error.to_string())),
            Err(_) => Err(LookupError::Timeout),
        }
    }
}
