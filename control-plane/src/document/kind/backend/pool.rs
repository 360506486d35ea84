//! How much of a Backend one proxy may use.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::unit::Duration;

/// Bounds on connections and requests of one proxy to a Backend. What is over one is answered with 503.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConnectionPool {
    /// 16384 where not given.
    pub max_connections: Option<NonZeroU32>,
    /// Requests (or TCP connections) that wait for a connection; 16384 where not given.
    pub max_pending_requests: Option<NonZeroU32>,
    /// Requests under way; 16384 where not given.
    pub max_requests: Option<NonZeroU32>,
    /// Second attempts under way; 3 where not given.
    pub max_retries: Option<u32>,
    /// 1s where not given.
    pub connect_timeout: Option<Duration>,
    /// A connection without requests is closed after this time, 60s where not given; 0s for never.
    pub idle_timeout: Option<Duration>,
}
