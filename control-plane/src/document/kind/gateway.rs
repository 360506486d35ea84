//! Where a fleet listens, and how changes reach it.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_policy::unit::Duration;

use super::{ClientAddress, Limits, ListenerTls, Tracing};
use crate::document::syntax;

/// Listeners for one fleet of Envoys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// The Envoys whose `node.cluster` is this.
    #[serde(deserialize_with = "syntax::fleet")]
    #[schemars(length(min = 1, max = 253))]
    pub fleet: String,
    /// Without listeners only the extension config `spillway/<gateway>` is published, for Envoys whose listeners come from elsewhere.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Spans of requests, recorded by the Envoys themselves.
    pub tracing: Option<Tracing>,
    /// Guarded push.
    pub push: Option<Push>,
}

/// How a change reaches a fleet: a few proxies try it, and the others get it once those have accepted it. A refusal stops it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Push {
    /// So many proxies try it, 1 where not given; in a fleet of fewer, all of them.
    #[serde(default = "one_canary")]
    pub canaries: NonZeroU32,
    /// A proxy that tries it and has not answered after this time is replaced by another; 5s where not given.
    #[serde(default = "push_timeout")]
    pub timeout: Duration,
}

fn one_canary() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn push_timeout() -> Duration {
    Duration::from_millis(5_000)
}

/// One address on which a fleet's Envoys accept connections.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// A DNS label, unique in the Gateway.
    #[serde(deserialize_with = "syntax::label")]
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: String,
    /// An IP address; `0.0.0.0` where not given.
    #[serde(default = "any_address", deserialize_with = "syntax::address")]
    #[schemars(with = "String")]
    pub address: std::net::IpAddr,
    /// 1 to 65535.
    pub port: std::num::NonZeroU16,
    /// What is spoken.
    pub protocol: Protocol,
    /// Only requests for this host (`*.example.com` for all below a domain).
    #[serde(default, deserialize_with = "syntax::hostname")]
    pub hostname: Option<String>,
    /// Which certificates clients are shown, and which they need; for `HTTPS` and `TLS`.
    pub tls: Option<ListenerTls>,
    /// Whose address counts as the client's.
    #[serde(default)]
    pub client_address: ClientAddress,
    /// Bounds against slow and greedy clients.
    #[serde(default)]
    pub limits: Limits,
    /// A JSON line for each request on Envoy's standard output, with trace id, route key and decision.
    #[serde(default)]
    pub access_log: bool,
}

fn any_address() -> std::net::IpAddr {
    std::net::Ipv4Addr::UNSPECIFIED.into()
}

/// What a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Protocol {
    /// HTTP/1.1 and HTTP/2 with prior knowledge, plain.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/1.1 and HTTP/2 over TLS, as clients and ALPN agree.
    #[serde(rename = "HTTPS")]
    Https,
    /// Connections, whatever is spoken on them. Routes that lead from here name the listener by `sectionName`, and lead to Backends that speak `TCP`.
    #[serde(rename = "TCP")]
    Tcp,
    /// The same as `TCP` over TLS, which ends here: Backends get what was inside.
    #[serde(rename = "TLS")]
    Tls,
    /// Nobody listens: gRPC clients that speak xDS ask for `hostname` (`xds:///hostname`, or with the port) and call the endpoints themselves.
    Proxyless,
}

impl Protocol {
    /// Whether requests are what comes, and not bytes.
    pub const fn is_http(self) -> bool {
        match self {
            Self::Http | Self::Https | Self::Proxyless => true,
            Self::Tcp | Self::Tls => false,
        }
    }

    /// Whether clients are shown a certificate.
    pub const fn is_secure(self) -> bool {
        match self {
            Self::Https | Self::Tls => true,
            Self::Http | Self::Tcp | Self::Proxyless => false,
        }
    }
}
