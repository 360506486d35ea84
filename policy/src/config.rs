//! The filter's configuration: what a TrafficPolicy document says, resolved to the routes it applies to.
//!
//! The same types read the filter's JSON inside Envoy and the `spec` of a TrafficPolicy in the control plane. A field of the document
//! language that no code acts on yet has the type [`NotYet`], which refuses every value.

mod check;
mod circuit_breaker;
mod concurrency;
mod degrade;
mod failure;
mod key;
mod problem;
mod rate_limit;
mod reaction;
mod rule;

use std::fmt;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::decision::Kind;

pub use self::circuit_breaker::{Backoff, CircuitBreaker, Slow, Trip};
pub use self::concurrency::{Adaptive, Concurrency};
pub use self::degrade::{Degrade, Pressure, Priority};
pub use self::failure::{Failures, GrpcStatus, Statuses};
pub use self::key::{GrpcSource, KeyAlternative, KeyPart, KeySource, KeySourceFields, NamedPart};
pub use self::problem::{ConfigError, PathSegment, Problem};
pub use self::rate_limit::{LimitScope, Override, RateLimit};
pub use self::reaction::{Mode, OnFailure, Response};
pub use crate::cost::{Cost, HeaderCost};
pub use crate::request_match::{PathMatch, PathMatchKind, RequestMatch, ValueMatch, ValueMatchKind};

impl Configuration {
    /// Reads the filter's JSON. The meaning is checked by [`Configuration::problems`].
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        Ok(serde_json::from_slice(json)?)
    }
}

/// Everything one instance of the filter enforces.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// Grows with every change, so that a worker that still runs an older configuration cannot undo a newer one's limits. 0 in
    /// configurations written by hand.
    #[serde(default)]
    pub revision: u64,
    /// This instance only says what the route key is: it sets the request header `x-route-key`, so that the proxy can choose the route by it, and counts and
    /// rejects nothing. Another one behind it does the rest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub announces_key: bool,
    /// The proxy records spans: which rule rejected a request is left for their tags too, part by part.
    #[serde(default, skip_serializing_if = "is_false")]
    pub traced: bool,
    /// The policies, in the order in which their rules are asked.
    pub policies: Vec<Policy>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// One TrafficPolicy and where it applies.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// The document's name: part of every reject's reason and of the name under which state is kept.
    pub name: String,
    /// Where the policy applies: any of. Empty means every request that passes this filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applies_to: Vec<Scope>,
    /// Alternatives for the route key: the first that is complete wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub route_key: Vec<KeyAlternative>,
    /// Token buckets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Circuit breakers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub circuit_breakers: Vec<CircuitBreaker>,
    /// Bulkheads and adaptive limits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concurrency: Vec<Concurrency>,
    /// Who is shed first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// What is given up under pressure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degrade: Vec<Degrade>,
}

impl Policy {
    /// Every rule: what it is, its name, and whether it rejects.
    pub fn rules(&self) -> impl Iterator<Item = (Kind, &str, Mode)> {
        let limits = self.rate_limits.iter().map(|rule| (Kind::RateLimit, &*rule.name, rule.mode));
        let breakers =
            self.circuit_breakers.iter().map(|rule| (Kind::CircuitBreaker, &*rule.name, rule.mode));
        let bulkheads = self.concurrency.iter().map(|rule| (Kind::Concurrency, &*rule.name, rule.mode));
        let degrade = self.degrade.iter().map(|rule| (Kind::Degrade, &*rule.name, rule.mode));
        limits.chain(breakers).chain(bulkheads).chain(degrade)
    }
}

/// A part of the traffic, named as Envoy names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Scope {
    /// The route that Envoy chose, by its whole name (`xds.route_name`); the control plane's are `<route>/<rule>`.
    Route(String),
    /// Every route whose name begins so; the control plane writes `<route>/`.
    RoutePrefix(String),
    /// The filter chain that accepted the connection (`xds.filter_chain_name`); the control plane names it after the listener.
    FilterChain(String),
}

/// The error for every value of a [`NotYet`] field.
pub const NOT_AVAILABLE_YET: &str = "not available yet";

/// The type of a field that the document language has but nothing acts on yet: every value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {}

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom(NOT_AVAILABLE_YET))
    }
}

impl Serialize for NotYet {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        match *self {}
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for NotYet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NotYet".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "not": {}, "description": "not available yet" })
    }
}

impl fmt::Display for NotYet {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

#[cfg(test)]
mod tests;
