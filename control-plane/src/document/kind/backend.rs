//! Who answers requests.

use schemars::JsonSchema;
use serde::Deserialize;

use super::BackendTls;
use crate::document::syntax;

mod balancing;
mod discovery;
mod health;
mod pool;

pub use self::balancing::{BalancingPolicy, LoadBalancing};
pub(crate) use self::balancing::{MAX_UNITS, units_of_weight};
pub use self::discovery::{Discovery, Dns};
pub use self::health::{GrpcCheck, HealthCheck, HttpCheck, OutlierDetection, TcpCheck};
pub use self::pool::ConnectionPool;

/// One upstream service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// What is spoken to the endpoints; `HTTP1` where not given.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// Where it runs, unless `discovery` finds out. Empty: every request is answered 503.
    pub endpoints: Option<Vec<Endpoint>>,
    /// Endpoints found elsewhere, in place of `endpoints`.
    pub discovery: Option<Discovery>,
    /// How endpoints are chosen.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// Active checks; none where not given.
    pub health_check: Option<HealthCheck>,
    /// Passive checks; none where not given.
    pub outlier_detection: Option<OutlierDetection>,
    /// Bounds on connections and requests.
    #[serde(default)]
    pub connection_pool: ConnectionPool,
    /// TLS to the endpoints; plain where not given.
    pub tls: Option<BackendTls>,
}

impl Backend {
    /// The endpoints that the document lists.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.endpoints.as_deref().unwrap_or_default()
    }

    /// The name in the DNS under which the endpoints are found.
    pub fn dns(&self) -> Option<&Dns> {
        self.discovery.as_ref()?.dns.as_ref()
    }
}

/// What a Backend speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum BackendProtocol {
    /// HTTP/1.1.
    #[default]
    #[serde(rename = "HTTP1")]
    Http1,
    /// HTTP/2 with prior knowledge.
    #[serde(rename = "HTTP2")]
    Http2,
    /// gRPC.
    #[serde(rename = "GRPC")]
    Grpc,
    /// Bytes; for listeners that speak `TCP` or `TLS`.
    #[serde(rename = "TCP")]
    Tcp,
}

/// One instance of a Backend.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// An IP address.
    #[serde(deserialize_with = "syntax::address")]
    #[schemars(with = "String")]
    pub address: std::net::IpAddr,
    /// 1 to 65535.
    pub port: std::num::NonZeroU16,
    /// Relative to the other endpoints, 1 where not given. 0: draining, no new sessions; those that it has go on.
    #[serde(default = "one_weight")]
    pub weight: u32,
    /// Where it stands; compared with the zone of proxies (`spillway bootstrap --zone`).
    #[serde(default, deserialize_with = "syntax::zone")]
    #[schemars(length(min = 1, max = 253))]
    pub zone: Option<String>,
}

fn one_weight() -> u32 {
    1
}
