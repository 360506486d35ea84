//! Where a Backend runs, if its document does not list it.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::NotYet;
use spillway_policy::unit::Duration;

use super::Endpoint;
use crate::document::syntax;

/// Endpoints found elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Discovery {
    /// In the DNS.
    pub dns: Option<Dns>,
    /// In etcd.
    pub etcd: Option<NotYet>,
}

/// A name whose addresses are the endpoints. The control plane asks for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dns {
    /// Every address of this name is an endpoint: its IPv4 addresses or, where there are none, its IPv6 addresses.
    #[serde(deserialize_with = "syntax::dns_name")]
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// 1 to 65535.
    pub port: std::num::NonZeroU16,
    /// How often to ask; 5s where not given.
    #[serde(default = "refresh")]
    pub refresh: Duration,
    /// When the name stops resolving, the last addresses stay in use for this time, 5m where not given; after it there are none.
    #[serde(default = "keep_for")]
    pub keep_for: Duration,
}

impl Dns {
    /// One of the addresses as an endpoint.
    pub(crate) fn endpoint(&self, address: IpAddr) -> Endpoint {
        Endpoint { address, port: self.port, weight: 1, zone: None }
    }
}

fn refresh() -> Duration {
    Duration::from_millis(5_000)
}

fn keep_for() -> Duration {
    Duration::from_millis(300_000)
}
