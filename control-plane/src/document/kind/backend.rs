//! Who answers requests.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::NotYet;

use crate::document::syntax;

/// One upstream service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backend {
    /// What is spoken to the endpoints; `HTTP1` where not given.
    #[serde(default)]
    pub protocol: BackendProtocol,
    /// Where it runs. Empty: every request is answered 503.
    pub endpoints: Vec<Endpoint>,
    /// Endpoints found elsewhere.
    pub discovery: Option<NotYet>,
    /// How endpoints are chosen.
    pub load_balancing: Option<NotYet>,
    /// Active checks.
    pub health_check: Option<NotYet>,
    /// Passive checks.
    pub outlier_detection: Option<NotYet>,
    /// Bounds on connections and requests.
    pub connection_pool: Option<NotYet>,
    /// TLS to the endpoints.
    pub tls: Option<NotYet>,
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
    /// Relative to the other endpoints, 1 where not given.
    #[serde(default = "one_weight", deserialize_with = "syntax::endpoint_weight")]
    pub weight: NonZeroU32,
    /// Where it stands.
    pub zone: Option<NotYet>,
}

fn one_weight() -> NonZeroU32 {
    NonZeroU32::MIN
}
