//! The filter's configuration: what a TrafficPolicy document says, resolved to the routes it applies to.
//!
//! The same types read the filter's JSON inside Envoy and the `spec` of a TrafficPolicy in the control plane. A field of the document
//! language that no code acts on yet has the type [`NotYet`], which refuses every value.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::unit::{Duration, Rate, Ratio};

/// Everything one instance of the filter enforces.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configuration {
    /// Grows with every change, so that a worker that still runs an older configuration cannot undo a newer one's limits. 0 in
    /// configurations written by hand.
    #[serde(default)]
    pub revision: u64,
    /// The policies, in the order in which their rules are asked.
    pub policies: Vec<Policy>,
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
}

/// A part of the traffic, named as Envoy names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
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

/// One way to make a route key. A list needs every part; a single source is a list of one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum KeyAlternative {
    /// Every part must be present; they are joined with `:`.
    All(Vec<KeySource>),
    /// One source.
    One(KeySource),
}

/// A token bucket: `rate` tokens flow in, at most `burst` stay, a request takes one.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimit {
    /// `[a-z0-9-]`, unique in its policy; shows in headers, metrics and logs.
    pub name: String,
    /// What each bucket is for; empty means one bucket for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyPart>,
    /// Tokens per time.
    pub rate: Rate,
    /// The bucket's size in tokens; one second of `rate`, at least 1, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
}

/// Stops sending to something that fails, and finds out gently when it is well again.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// `[a-z0-9-]`, unique in its policy; shows in headers, metrics and logs.
    pub name: String,
    /// What each breaker is for; empty means one for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyPart>,
    /// How far back outcomes count.
    pub window: Duration,
    /// Fewer outcomes than this in the window never trip.
    pub min_requests: NonZeroU32,
    /// What trips it.
    pub trip: Trip,
    /// How long it rejects before it probes.
    pub open_for: Duration,
    /// Exactly so many requests pass while half-open; all must succeed.
    pub probes: NonZeroU32,
}

/// What trips a circuit breaker; any of those given.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trip {
    /// The share of failures among the outcomes in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<Ratio>,
}

/// The type of a field that the document language has but nothing acts on yet: every value is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotYet {}

impl<'de> Deserialize<'de> for NotYet {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("not available yet"))
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

/// Where a part of a key comes from.
///
/// Written as an object with one field (`{header: x-tenant-id}`), a template with two (`{template: "/orders/{tenant}/**", key: "{tenant}"}`).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "KeySourceFields", into = "KeySourceFields")]
pub enum KeySource {
    /// Segments of the path: `/orders/{tenant}/**` gives `{tenant}`; `**` only at the end.
    Template {
        /// The path pattern.
        template: String,
        /// What to make of the captured segments.
        key: String,
    },
    /// A request header, lower-case.
    Header(String),
    /// The client's address cut to so many bits (IPv4: as given, IPv6: as given; whole address where `None`).
    ClientAddress {
        /// Bits kept.
        prefix: Option<u8>,
    },
    /// A constant.
    Value(String),
}

/// [`KeySource`] as it is written; exactly one alternative may be present.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySourceFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<ClientAddressFields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientAddressFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<u8>,
}

impl TryFrom<KeySourceFields> for KeySource {
    type Error = String;

    fn try_from(fields: KeySourceFields) -> Result<Self, String> {
        let KeySourceFields { template, key, header, client_address, value } = fields;
        match (template, key, header, client_address, value) {
            (Some(template), Some(key), None, None, None) => Ok(Self::Template { template, key }),
            (None, None, Some(header), None, None) => Ok(Self::Header(header)),
            (None, None, None, Some(ClientAddressFields { prefix }), None) => Ok(Self::ClientAddress { prefix }),
            (None, None, None, None, Some(value)) => Ok(Self::Value(value)),
            _ => Err("expected exactly one source: template with key, header, clientAddress or value".into()),
        }
    }
}

impl From<KeySource> for KeySourceFields {
    fn from(source: KeySource) -> Self {
        let none = Self::default();
        match source {
            KeySource::Template { template, key } => Self { template: Some(template), key: Some(key), ..none },
            KeySource::Header(header) => Self { header: Some(header), ..none },
            KeySource::ClientAddress { prefix } => Self { client_address: Some(ClientAddressFields { prefix }), ..none },
            KeySource::Value(value) => Self { value: Some(value), ..none },
        }
    }
}

/// A part of a rule's key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum KeyPart {
    /// `routeKey` or `backend`.
    Named(NamedPart),
    /// A source of its own.
    Source(KeySource),
}

/// A part of a key that is written as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum NamedPart {
    /// The policy's route key.
    RouteKey,
    /// The Backend (not an endpoint) that the route chose.
    Backend,
}
