//! The kinds of document, as they are written. Everything here has been read and has the right shape; whether references
//! resolve is [`crate::model`]'s question.

use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_policy::config::{
    CircuitBreaker, Concurrency, Degrade, KeyAlternative, NotYet, Priority, RateLimit,
};
use spillway_policy::unit::Duration;

use super::syntax;

/// Values of enumerations (by the name of their type) that belong to the language and that nothing acts on yet.
pub(crate) const LATER_VALUES: &[(&str, &[&str])] = &[
    ("Kind", &["Certificate", "Rollout"]),
    ("Protocol", &["HTTPS", "TCP", "TLS", "MQTT", "MQTTS"]),
    ("PathMatchKind", &["RegularExpression"]),
    ("HeaderMatchKind", &["RegularExpression"]),
    ("BackendProtocol", &["TCP"]),
];

/// The kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
pub enum Kind {
    /// See [`Gateway`].
    Gateway,
    /// See [`Route`].
    Route,
    /// See [`Backend`].
    Backend,
    /// See [`TrafficPolicy`].
    TrafficPolicy,
}

impl Kind {
    /// All of them, in the order in which a reader meets them.
    pub const ALL: [Self; 4] = [Self::Gateway, Self::Route, Self::Backend, Self::TrafficPolicy];

    /// As it is written in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::Route => "Route",
            Self::Backend => "Backend",
            Self::TrafficPolicy => "TrafficPolicy",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What any document may be.
#[derive(Debug, Clone)]
pub enum Spec {
    /// Listeners for one fleet.
    Gateway(Arc<Gateway>),
    /// Matches and where they lead.
    Route(Arc<Route>),
    /// One upstream service.
    Backend(Arc<Backend>),
    /// Protections and what they apply to.
    TrafficPolicy(Arc<TrafficPolicy>),
}

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
    /// Envoy's OpenTelemetry tracer.
    pub tracing: Option<NotYet>,
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
    /// Certificates.
    pub tls: Option<NotYet>,
    /// Whose address counts as the client's.
    pub client_address: Option<NotYet>,
    /// Bounds against slow and greedy clients.
    pub limits: Option<NotYet>,
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
    /// Nobody listens: gRPC clients that speak xDS ask for `hostname` (`xds:///hostname`, or with the port) and call the endpoints themselves.
    Proxyless,
}

/// Matches and where they lead.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Route {
    /// The Gateways, or single listeners of theirs, that serve this route.
    pub parent_refs: Vec<ParentRef>,
    /// Hosts; all where not given.
    #[serde(default, deserialize_with = "syntax::hostnames")]
    pub hostnames: Vec<String>,
    /// In the Gateway API's order of precedence, not in the order written.
    pub rules: Vec<Rule>,
}

/// A Gateway that serves a route.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParentRef {
    /// The Gateway's name.
    pub name: String,
    /// One listener; all where not given.
    pub section_name: Option<String>,
}

/// One rule of a route. Envoy's route is named `<route>/<rule>`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// A DNS label, unique in the route.
    #[serde(deserialize_with = "syntax::label")]
    #[schemars(regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), length(max = 63))]
    pub name: String,
    /// Any of; every request where empty.
    #[serde(default)]
    pub matches: Vec<Match>,
    /// Where requests go, by relative weight.
    #[serde(default)]
    pub backend_refs: Vec<BackendRef>,
    /// How long things may take.
    pub timeouts: Option<NotYet>,
    /// Second attempts.
    pub retry: Option<NotYet>,
    /// What keeps a client on one endpoint.
    pub hash_on: Option<NotYet>,
    /// What keeps a session on one endpoint.
    pub session_persistence: Option<NotYet>,
    /// Changes to requests and responses.
    pub filters: Option<NotYet>,
    /// Whether a WebSocket upgrade is allowed.
    pub websocket: Option<NotYet>,
    /// gRPC-JSON.
    pub transcode: Option<NotYet>,
}

/// Everything in one match must hold.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// `PathPrefix /` where not given.
    pub path: Option<PathMatch>,
    /// `GET`, `POST` and so on; every method where not given.
    #[serde(default, deserialize_with = "syntax::method")]
    pub method: Option<String>,
    /// Headers that the request must have.
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
    /// Query parameters.
    pub query_params: Option<NotYet>,
    /// A gRPC service and method.
    pub grpc: Option<NotYet>,
    /// The key of a policy that targets the Gateway.
    pub route_key: Option<NotYet>,
    /// An MQTT session.
    pub mqtt: Option<NotYet>,
}

/// A match on the path, without query.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathMatch {
    /// How `value` is compared; `PathPrefix` where not given.
    #[serde(rename = "type", default)]
    pub kind: PathMatchKind,
    /// An absolute path without query; what is not ASCII is percent-encoded.
    #[serde(deserialize_with = "syntax::path")]
    #[schemars(regex(pattern = "^/[^?#]*$"))]
    pub value: String,
}

/// How paths are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum PathMatchKind {
    /// The whole path.
    Exact,
    /// By path element: `/orders` covers `/orders` and `/orders/7`, not `/ordersx`.
    #[default]
    PathPrefix,
}

/// A header and its value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Case does not matter.
    #[serde(deserialize_with = "syntax::header_name")]
    pub name: String,
    /// The whole value.
    #[serde(deserialize_with = "syntax::header_value")]
    #[schemars(length(min = 1))]
    pub value: String,
    /// How `value` is compared; `Exact` where not given.
    #[serde(rename = "type", default)]
    pub kind: HeaderMatchKind,
}

/// How header values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum HeaderMatchKind {
    /// The whole value, byte for byte.
    #[default]
    Exact,
}

/// A Backend and its share.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// The Backend's name.
    pub name: String,
    /// Relative to the other backendRefs of the rule; 1 where not given.
    #[serde(default = "one")]
    pub weight: u32,
}

fn one() -> u32 {
    1
}

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

/// Protections and what they apply to.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrafficPolicy {
    /// Gateways (or their listeners) and Routes (or their rules).
    pub target_refs: Vec<TargetRef>,
    /// Alternatives for the route key: the first that is complete wins.
    #[serde(default)]
    pub route_key: Vec<KeyAlternative>,
    /// Token buckets.
    #[serde(default)]
    pub rate_limits: Vec<RateLimit>,
    /// Circuit breakers.
    #[serde(default)]
    pub circuit_breakers: Vec<CircuitBreaker>,
    /// Bulkheads and adaptive limits.
    #[serde(default)]
    pub concurrency: Vec<Concurrency>,
    /// Who is shed first.
    pub priority: Option<Priority>,
    /// Graded back-pressure.
    #[serde(default)]
    pub degrade: Vec<Degrade>,
    /// Limits on messages within a connection.
    pub messages: Option<NotYet>,
}

/// What a policy applies to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TargetRef {
    /// The kind of document.
    pub kind: TargetKind,
    /// Its name.
    pub name: String,
    /// A listener of the Gateway, or a rule of the Route; all where not given.
    pub section_name: Option<String>,
}

/// What can be a policy's target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TargetKind {
    /// All traffic of a Gateway.
    Gateway,
    /// All traffic of a Route.
    Route,
}

impl TargetKind {
    /// As it is written in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "Gateway",
            Self::Route => "Route",
        }
    }
}
