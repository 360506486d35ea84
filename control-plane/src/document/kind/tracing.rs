//! Spans of the requests that a fleet's Envoys serve.

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::unit::Ratio;

use crate::bootstrap::HostPort;
use crate::document::syntax;

/// Where Envoys send spans of requests, and of how many.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// The OpenTelemetry collector, `HOST:PORT`, as the Envoys reach it: OTLP over gRPC, without TLS. Envoys look a name up in the DNS themselves.
    #[serde(deserialize_with = "syntax::collector")]
    #[schemars(with = "String")]
    pub otlp: HostPort,
    /// The share of requests of which spans are recorded. A request that comes with a trace context brings the decision with it; with `0%` nothing is
    /// recorded, whatever requests say.
    #[serde(default = "everything")]
    pub sampling: Ratio,
}

fn everything() -> Ratio {
    Ratio::WHOLE
}
