//! Where requests go, and how.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::NotYet;
use spillway_policy::unit::{Duration, Ratio};

use super::{Filter, HashKey, Listener, Match, SessionPersistence};
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
    /// One listener; where not given, all that speak HTTP (those that speak TCP or TLS have to be named).
    pub section_name: Option<String>,
}

impl ParentRef {
    /// Whether it is about this listener of the Gateway that it names. A listener that passes bytes on has to be named.
    pub fn reaches(&self, listener: &Listener) -> bool {
        match &self.section_name {
            Some(section) => *section == listener.name,
            None => listener.protocol.is_http(),
        }
    }
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
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Second attempts.
    pub retry: Option<Retry>,
    /// What decides about the endpoint in Backends that use `RingHash` or `Maglev`, and about the Backend where there are several.
    #[serde(default)]
    pub hash_on: Vec<HashKey>,
    /// What keeps a session on one endpoint.
    pub session_persistence: Option<SessionPersistence>,
    /// Changes to requests and responses.
    #[serde(default)]
    pub filters: Vec<Filter>,
    /// Whether a WebSocket upgrade is allowed; else it is answered 403.
    #[serde(default)]
    pub websocket: bool,
    /// gRPC-JSON.
    pub transcode: Option<NotYet>,
}

impl Rule {
    /// The names of the Backends that get anything from it, copies too.
    pub fn backends(&self) -> impl Iterator<Item = &str> {
        let mirrors = self.filters.iter().filter_map(|filter| filter.request_mirror.as_ref());
        let references = self.backend_refs.iter().map(|reference| reference.name.as_str());
        references.chain(mirrors.map(|mirror| mirror.backend_ref.name.as_str()))
    }
}

/// How long things may take. `0s` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Timeouts {
    /// From the end of the request to the end of the answer, all attempts together; then 504. For ever where not given.
    pub request: Option<Duration>,
    /// The same for one attempt; not longer than `request`.
    pub backend_request: Option<Duration>,
    /// A stream or connection on which nothing moves is ended after this; the listener's `idleTimeout` where not given.
    pub idle: Option<Duration>,
    /// A stream or connection is ended after this even if it is in use, as `WebSockets` and gRPC streams are; for ever where not given.
    pub lifetime: Option<Duration>,
}

/// Second attempts: of requests that failed in one of `conditions`, or were answered with one of `codes`. Where neither is given, of those that no
/// backend can have seen: `connect-failure` and `refused-stream`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Retry {
    /// Attempts after the first, 1 to 100; 1 where not given.
    #[serde(default = "one_attempt", deserialize_with = "syntax::attempts")]
    #[schemars(range(min = 1, max = 100))]
    pub attempts: NonZeroU32,
    /// Statuses, 400 to 599.
    #[serde(default, deserialize_with = "syntax::retry_codes")]
    #[schemars(with = "Vec<u16>", inner(range(min = 400, max = 599)))]
    pub codes: Vec<u32>,
    /// What else counts as failed.
    #[serde(default)]
    pub conditions: Vec<RetryCondition>,
    /// The pause before the first of them is random, up to this; it doubles each time, up to ten times this. 25ms where not given.
    #[serde(default = "backoff")]
    pub backoff: Duration,
    /// The share of a Backend's active requests that may be second attempts (three are always allowed). It belongs to the Backend: of the rules that lead
    /// to one, the smallest budget holds.
    pub budget: Option<Ratio>,
}

/// Failures after which an attempt may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RetryCondition {
    /// Any status from 500 to 599, or no answer at all.
    #[serde(rename = "5xx")]
    ServerError,
    /// 502, 503 or 504.
    GatewayError,
    /// The connection or stream ended, or the attempt's time was up, without an answer.
    Reset,
    /// The connection was lost before the request had been sent.
    ResetBeforeRequest,
    /// There was no connection.
    ConnectFailure,
    /// The backend refused the stream (HTTP/2).
    RefusedStream,
    /// 409
    #[serde(rename = "retriable-4xx")]
    Conflict,
    /// gRPC: CANCELLED.
    Cancelled,
    /// gRPC: `DEADLINE_EXCEEDED`.
    DeadlineExceeded,
    /// gRPC: INTERNAL.
    Internal,
    /// gRPC: `RESOURCE_EXHAUSTED`.
    ResourceExhausted,
    /// gRPC: UNAVAILABLE.
    Unavailable,
}

impl RetryCondition {
    /// As it is written in documents, and as Envoy calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServerError => "5xx",
            Self::GatewayError => "gateway-error",
            Self::Reset => "reset",
            Self::ResetBeforeRequest => "reset-before-request",
            Self::ConnectFailure => "connect-failure",
            Self::RefusedStream => "refused-stream",
            Self::Conflict => "retriable-4xx",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Internal => "internal",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether it is the status of a gRPC call.
    pub const fn is_grpc(self) -> bool {
        matches!(
            self,
            Self::Cancelled
                | Self::DeadlineExceeded
                | Self::Internal
                | Self::ResourceExhausted
                | Self::Unavailable
        )
    }
}

fn one_attempt() -> NonZeroU32 {
    NonZeroU32::MIN
}

fn backoff() -> Duration {
    Duration::from_millis(25)
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
