//! What requests are recognised by.

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::NotYet;

use crate::document::syntax;

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
    /// Query parameters that the request must have; compared as they are written, without decoding. Of several with one name the first counts.
    #[serde(default)]
    pub query_params: Vec<QueryParamMatch>,
    /// A gRPC service, method or both, in place of `path`.
    pub grpc: Option<GrpcMatch>,
    /// The key of a policy that targets the Gateway.
    pub route_key: Option<RouteKeyMatch>,
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
    /// An absolute path without query, in which what is not ASCII is percent-encoded; or a regular expression (RE2) for a whole one.
    #[schemars(length(min = 1))]
    pub value: String,
}

/// How paths are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
pub enum PathMatchKind {
    /// The whole path.
    Exact,
    /// By path element: `/orders` covers `/orders` and `/orders/7`, not `/ordersx`.
    #[default]
    PathPrefix,
    /// The whole path, by an expression.
    RegularExpression,
}

/// A header and its value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HeaderMatch {
    /// Case does not matter.
    #[serde(deserialize_with = "syntax::header_name")]
    pub name: String,
    /// The whole value, or an expression for it.
    #[serde(deserialize_with = "syntax::header_value")]
    #[schemars(length(min = 1))]
    pub value: String,
    /// How `value` is compared; `Exact` where not given.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchKind,
}

/// A query parameter and its value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryParamMatch {
    /// Case matters.
    #[serde(deserialize_with = "syntax::query_parameter")]
    #[schemars(length(min = 1))]
    pub name: String,
    /// The whole value, or an expression for it.
    #[serde(deserialize_with = "syntax::query_parameter")]
    #[schemars(length(min = 1))]
    pub value: String,
    /// How `value` is compared; `Exact` where not given.
    #[serde(rename = "type", default)]
    pub kind: ValueMatchKind,
}

/// How the values of headers and query parameters are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize, JsonSchema)]
pub enum ValueMatchKind {
    /// The whole value, byte for byte.
    #[default]
    Exact,
    /// The whole value, by a regular expression (RE2).
    RegularExpression,
}

/// gRPC calls. One of the two at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrpcMatch {
    /// With its package, `shop.Orders`; every service where not given.
    #[serde(default, deserialize_with = "syntax::grpc_service")]
    pub service: Option<String>,
    /// Every method where not given.
    #[serde(default, deserialize_with = "syntax::grpc_method")]
    pub method: Option<String>,
}

/// A route key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteKeyMatch {
    /// The whole key.
    #[serde(deserialize_with = "syntax::header_value")]
    #[schemars(length(min = 1))]
    pub value: String,
}
