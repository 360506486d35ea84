//! The filter's configuration: what a TrafficPolicy document says, resolved to the routes it applies to.
//!
//! The same types read the filter's JSON inside Envoy and the `spec` of a TrafficPolicy in the control plane. A field of the document
//! language that no code acts on yet has the type [`NotYet`], which refuses every value.

mod check;
mod problem;

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::unit::{Duration, Rate, Ratio};

pub use self::problem::{ConfigError, PathSegment, Problem};

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

/// One way to make a route key. A list needs every part; a single source is a list of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum KeyAlternative {
    /// Every part must be present; they are joined with `:`.
    All(Vec<KeySource>),
    /// One source.
    One(KeySource),
}

// Written by hand, because a derived `untagged` tries one form after the other and forgets where in the text the error was.
impl<'de> Deserialize<'de> for KeyAlternative {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeyAlternative;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a source such as {header: x-tenant-id}, or a list of sources")
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, parts: A) -> Result<KeyAlternative, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(parts)).map(KeyAlternative::All)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, source: A) -> Result<KeyAlternative, A::Error> {
                KeySource::deserialize(de::value::MapAccessDeserializer::new(source)).map(KeyAlternative::One)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
    /// Only requests that match.
    #[serde(default, skip_serializing)]
    pub when: Option<NotYet>,
    /// Tokens that one request takes.
    #[serde(default, skip_serializing)]
    pub cost: Option<NotYet>,
    /// Whether one proxy or the whole fleet shares the buckets.
    #[serde(default, skip_serializing)]
    pub scope: Option<NotYet>,
    /// Other rates for single keys.
    #[serde(default, skip_serializing)]
    pub overrides: Option<NotYet>,
    /// Whether it rejects or only counts.
    #[serde(default, skip_serializing)]
    pub mode: Option<NotYet>,
    /// What happens when the shared store refuses.
    #[serde(default, skip_serializing)]
    pub on_failure: Option<NotYet>,
    /// What a rejected client is told.
    #[serde(default, skip_serializing)]
    pub response: Option<NotYet>,
    /// `RateLimit` headers on responses.
    #[serde(default, skip_serializing)]
    pub rate_limit_headers: Option<NotYet>,
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
    /// Which outcomes count as failures.
    #[serde(default, skip_serializing)]
    pub failures: Option<NotYet>,
    /// Lengthens `openFor` with each failed half-open.
    #[serde(default, skip_serializing)]
    pub backoff: Option<NotYet>,
    /// Whether it rejects or only counts.
    #[serde(default, skip_serializing)]
    pub mode: Option<NotYet>,
    /// What happens when the shared store refuses.
    #[serde(default, skip_serializing)]
    pub on_failure: Option<NotYet>,
    /// What a rejected client is told.
    #[serde(default, skip_serializing)]
    pub response: Option<NotYet>,
}

/// What trips a circuit breaker; any of those given.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trip {
    /// The share of failures among the outcomes in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_ratio: Option<Ratio>,
    /// The share of slow responses in the window.
    #[serde(default, skip_serializing)]
    pub slow: Option<NotYet>,
    /// The number of failures in the window.
    #[serde(default, skip_serializing)]
    pub error_count: Option<NotYet>,
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

/// Where a part of a key comes from: exactly one of these, `template` and `key` counting as one.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "KeySource"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySourceFields {
    /// A path pattern such as `/orders/{tenant}/**`; `**` only at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    /// With `template`: what to make of the captured segments, such as `{tenant}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// A request header's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_address: Option<ClientAddressFields>,
    /// This text, always.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// The request's method.
    #[serde(skip_serializing)]
    method: Option<NotYet>,
    /// A query parameter's value.
    #[serde(skip_serializing)]
    query: Option<NotYet>,
    /// A cookie's value.
    #[serde(skip_serializing)]
    cookie: Option<NotYet>,
    /// The service, the method or a metadata value of a gRPC request.
    #[serde(skip_serializing)]
    grpc: Option<NotYet>,
    /// The server name that the client asked for in TLS.
    #[serde(skip_serializing)]
    sni: Option<NotYet>,
}

/// The client's address as a key.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ClientAddress"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientAddressFields {
    /// How many leading bits count, at most 128; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<u8>,
}

impl TryFrom<KeySourceFields> for KeySource {
    type Error = String;

    fn try_from(fields: KeySourceFields) -> Result<Self, String> {
        let KeySourceFields {
            template,
            key,
            header,
            client_address,
            value,
            method: None,
            query: None,
            cookie: None,
            grpc: None,
            sni: None,
        } = fields;
        match (template, key, header, client_address, value) {
            (Some(template), Some(key), None, None, None) => Ok(Self::Template { template, key }),
            (None, None, Some(header), None, None) => Ok(Self::Header(header)),
            (None, None, None, Some(ClientAddressFields { prefix }), None) => {
                Ok(Self::ClientAddress { prefix })
            }
            (None, None, None, None, Some(value)) => Ok(Self::Value(value)),
            _ => Err("expected exactly one source: template with key, header, clientAddress or value".into()),
        }
    }
}

impl From<KeySource> for KeySourceFields {
    fn from(source: KeySource) -> Self {
        let none = Self::default();
        match source {
            KeySource::Template { template, key } => {
                Self { template: Some(template), key: Some(key), ..none }
            }
            KeySource::Header(header) => Self { header: Some(header), ..none },
            KeySource::ClientAddress { prefix } => {
                Self { client_address: Some(ClientAddressFields { prefix }), ..none }
            }
            KeySource::Value(value) => Self { value: Some(value), ..none },
        }
    }
}

/// A part of a rule's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum KeyPart {
    /// `routeKey` or `backend`.
    Named(NamedPart),
    /// A source of its own.
    Source(KeySource),
}

impl<'de> Deserialize<'de> for KeyPart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeyPart;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("routeKey, backend or a source such as {header: x-tenant-id}")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<KeyPart, E> {
                NamedPart::deserialize(de::value::StrDeserializer::new(name)).map(KeyPart::Named)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, source: A) -> Result<KeyPart, A::Error> {
                KeySource::deserialize(de::value::MapAccessDeserializer::new(source)).map(KeyPart::Source)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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

#[cfg(test)]
mod tests;
