//! The filter's configuration: what a TrafficPolicy document says, resolved to the routes it applies to.
//!
//! The same types read the filter's JSON inside Envoy and the `spec` of a TrafficPolicy in the control plane. A field of the document
//! language that no code acts on yet has the type [`NotYet`], which refuses every value.

mod check;
mod failure;
mod pressure;
mod problem;
mod reaction;

use std::fmt;
use std::num::NonZeroU32;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::decision::Kind;
use crate::unit::{Duration, Rate, Ratio};

pub use self::failure::{Failures, GrpcStatus, Statuses};
pub use self::pressure::{Adaptive, Concurrency, Degrade, Pressure, Priority};
pub use self::problem::{ConfigError, PathSegment, Problem};
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
    /// Only requests that match any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<RequestMatch>,
    /// Tokens that one request takes; 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Who shares the buckets.
    #[serde(default, skip_serializing_if = "LimitScope::is_proxy")]
    pub scope: LimitScope,
    /// Other rates for single keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Override>,
    /// Whether it rejects or only counts.
    #[serde(default, skip_serializing_if = "Mode::is_enforce")]
    pub mode: Mode,
    /// What happens when the shared store does not answer.
    #[serde(default, skip_serializing_if = "OnFailure::is_allow")]
    pub on_failure: OnFailure,
    /// What a rejected client is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
    /// `RateLimit` and `RateLimit-Policy` on responses. Such a rule takes no leases, so that what it says is true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub rate_limit_headers: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Another rate for one key of a limit. The key has a bucket of its own then, which is full when the override is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Override {
    /// The whole key, as it is made of its parts.
    pub key: String,
    /// Tokens per time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// The bucket's size in tokens; one second of `rate`, at least 1, where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<NonZeroU32>,
    /// Whether the limit passes this key by.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unlimited: bool,
}

/// Who shares the buckets of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum LimitScope {
    /// The workers of one proxy.
    #[default]
    Proxy,
}

impl LimitScope {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    const fn is_proxy(&self) -> bool {
        matches!(self, Self::Proxy)
    }
}

impl<'de> Deserialize<'de> for LimitScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "proxy" => Ok(Self::Proxy),
            "fleet" => Err(de::Error::custom(format!("`fleet` is {NOT_AVAILABLE_YET}"))),
            other => Err(de::Error::custom(format!("expected proxy or fleet, found {other:?}"))),
        }
    }
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<Failures>,
    /// Lengthens `openFor` with each failed half-open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Backoff>,
    /// Whether it rejects or only counts.
    #[serde(default, skip_serializing_if = "Mode::is_enforce")]
    pub mode: Mode,
    /// What happens when the shared store does not answer.
    #[serde(default, skip_serializing_if = "OnFailure::is_allow")]
    pub on_failure: OnFailure,
    /// What a rejected client is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// How `openFor` grows while probes go on failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Backoff {
    /// Each failed half-open multiplies it by this, 1 to 100.
    pub factor: NonZeroU32,
    /// It never grows beyond.
    pub max: Duration,
}

/// Slow answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Slow {
    /// An answer whose first byte takes longer than this is slow.
    pub over: Duration,
    /// The share of slow ones among the outcomes in the window.
    pub ratio: Ratio,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// The number of failures in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_count: Option<NonZeroU32>,
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
    /// The request's method.
    Method,
    /// A query parameter, percent-decoded.
    Query(String),
    /// A cookie.
    Cookie(String),
    /// Something of a gRPC call.
    Grpc(GrpcSource),
    /// The server name that the client asked for in its TLS handshake.
    Sni,
}

/// What of a gRPC call. Requests whose content type does not say gRPC have none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum GrpcSource {
    /// `shop.Orders` of `/shop.Orders/Place`.
    Service,
    /// `Place` of `/shop.Orders/Place`.
    Method,
    /// A value of the call's metadata, by its name.
    Metadata(String),
}

// Written by hand, because not every format that documents come in has enums with content.
impl<'de> Deserialize<'de> for GrpcSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Fields {
            metadata: String,
        }
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = GrpcSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("service, method or {metadata: name}")
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<GrpcSource, E> {
                match name {
                    "service" => Ok(GrpcSource::Service),
                    "method" => Ok(GrpcSource::Method),
                    _ => Err(E::invalid_value(de::Unexpected::Str(name), &self)),
                }
            }
            fn visit_map<A: de::MapAccess<'de>>(self, fields: A) -> Result<GrpcSource, A::Error> {
                let Fields { metadata } = Fields::deserialize(de::value::MapAccessDeserializer::new(fields))?;
                Ok(GrpcSource::Metadata(metadata))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<Only>,
    /// A query parameter's value, percent-decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// A cookie's value.
    #[serde(skip_serializing_if = "Option::is_none")]
    cookie: Option<String>,
    /// The service, the method or a metadata value of a gRPC request.
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc: Option<GrpcSource>,
    /// The server name that the client asked for in TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    sni: Option<Only>,
}

/// `true`, the only value of a source that has nothing to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "bool", into = "bool")]
struct Only;

impl TryFrom<bool> for Only {
    type Error = &'static str;
    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("expected true") }
    }
}

impl From<Only> for bool {
    fn from(_: Only) -> Self {
        true
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Only {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "True".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": true })
    }
}

/// The client's address as a key.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(rename = "ClientAddress"))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ClientAddressFields {
    /// How many leading bits count; all where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(max = 128)))]
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
            method,
            query,
            cookie,
            grpc,
            sni,
        } = fields;
        let template = match (template, key) {
            (None, None) => None,
            (Some(template), Some(key)) => Some(Self::Template { template, key }),
            (Some(_), None) => return Err("a template needs a key such as \"{tenant}\" beside it".into()),
            (None, Some(_)) => return Err("a key without a template".into()),
        };
        let found = [
            template,
            header.map(Self::Header),
            client_address.map(|ClientAddressFields { prefix }| Self::ClientAddress { prefix }),
            value.map(Self::Value),
            method.map(|Only| Self::Method),
            query.map(Self::Query),
            cookie.map(Self::Cookie),
            grpc.map(Self::Grpc),
            sni.map(|Only| Self::Sni),
        ];
        let mut found = found.into_iter().flatten();
        match (found.next(), found.next()) {
            (Some(source), None) => Ok(source),
            _ => Err(
                "expected exactly one source: template with key, header, method, query, cookie, grpc, sni, \
                clientAddress or value"
                    .into(),
            ),
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
            KeySource::Method => Self { method: Some(Only), ..none },
            KeySource::Query(query) => Self { query: Some(query), ..none },
            KeySource::Cookie(cookie) => Self { cookie: Some(cookie), ..none },
            KeySource::Grpc(grpc) => Self { grpc: Some(grpc), ..none },
            KeySource::Sni => Self { sni: Some(Only), ..none },
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
