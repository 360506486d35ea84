//! Circuit breakers as they are written.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::failure::Failures;
use super::rule::rule;
use crate::unit::{Duration, Ratio};

rule! {
    /// Stops sending to something that fails, and finds out gently when it is well again.
    pub struct CircuitBreaker {
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
    }
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
