//! What requests are recognised by, and where they go.

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::NotYet;

use crate::document::syntax;

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
