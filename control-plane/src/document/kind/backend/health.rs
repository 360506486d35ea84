//! Which endpoints of a Backend are well.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::unit::{Duration, Ratio};

use crate::document::syntax;

/// Active checks: every proxy asks every endpoint. Exactly one of `http`, `grpc` and `tcp` is given.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HealthCheck {
    /// A GET has to be answered with 200.
    pub http: Option<HttpCheck>,
    /// `grpc.health.v1.Health/Check` has to be answered with SERVING.
    pub grpc: Option<GrpcCheck>,
    /// A connection has to be accepted.
    pub tcp: Option<TcpCheck>,
    /// 5s where not given.
    #[serde(default = "interval")]
    pub interval: Duration,
    /// 1s where not given.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// So many failures in a row, 3 where not given. With `http`, a single answer of 503 is enough.
    #[serde(default = "unhealthy_after")]
    pub unhealthy_after: NonZeroU32,
    /// So many successes in a row, 2 where not given. For a new endpoint the first is enough.
    #[serde(default = "healthy_after")]
    pub healthy_after: NonZeroU32,
}

/// What to GET.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpCheck {
    /// An absolute path, possibly with a query.
    #[serde(deserialize_with = "syntax::check_path")]
    #[schemars(regex(pattern = "^/"))]
    pub path: String,
}

/// What to ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcCheck {
    /// One service; the whole server where not given.
    pub service: Option<String>,
}

/// Nothing more to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TcpCheck {}

/// Passive checks: an endpoint that fails is left out for a while.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// Answers of 5xx, resets, timeouts and failed connections in a row; 5 where not given.
    pub consecutive_errors: NonZeroU32,
    /// 30s where not given; the n-th time in a row n times as long, up to 5m.
    pub eject_for: Duration,
    /// Of all endpoints, at most so many are left out at a time, but always one; 50% where not given.
    pub max_ejected: Ratio,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_errors: NonZeroU32::MIN.saturating_add(4),
            eject_for: Duration::from_millis(30_000),
            max_ejected: Ratio::HALF,
        }
    }
}

fn interval() -> Duration {
    Duration::from_millis(5_000)
}

fn timeout() -> Duration {
    Duration::from_millis(1_000)
}

fn unhealthy_after() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(2)
}

fn healthy_after() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(1)
}
