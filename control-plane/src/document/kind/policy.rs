//! What protects a Gateway or a Route.

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::{
    CircuitBreaker, Concurrency, Degrade, KeyAlternative, NotYet, Priority, RateLimit,
};

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
