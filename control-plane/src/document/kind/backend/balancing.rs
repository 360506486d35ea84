//! Which endpoint of a Backend answers a request.

use schemars::JsonSchema;
use serde::Deserialize;
use spillway_policy::config::NotYet;
use spillway_policy::unit::Duration;

use super::Endpoint;

/// How endpoints are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancing {
    /// `RoundRobin` where not given.
    pub policy: BalancingPolicy,
    /// An endpoint that is new gets its full share only after this time. With `RoundRobin` and `LeastRequest`.
    pub slow_start: Option<Duration>,
    /// Endpoints in the proxy's own zone are preferred; the others take over as far as those fail. Not with `RingHash` and `Maglev`.
    pub zone_aware: bool,
    /// Weights from what proxies report.
    pub dynamic_weights: Option<NotYet>,
}

/// The choice of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
pub enum BalancingPolicy {
    /// One after another.
    #[default]
    RoundRobin,
    /// The one with fewer requests under way of two that are drawn.
    LeastRequest,
    /// Any.
    Random,
    /// By a hash of what the rule's `hashOn` names: an endpoint that comes takes keys from the others, one that goes gives its own away, and no other key moves.
    RingHash,
    /// As `RingHash`, with less work for Envoy and more even shares; of the other keys two or three in a thousand move too.
    Maglev,
}

impl BalancingPolicy {
    /// Whether a key decides.
    pub const fn is_by_hash(self) -> bool {
        matches!(self, Self::RingHash | Self::Maglev)
    }
}

/// The most units of weight that a ring can be made of: see [`units_of_weight`].
pub(crate) const MAX_UNITS: u64 = 1 << 18;

/// How many units the weights add up to, and the unit: the largest of which every weight is a multiple.
pub(crate) fn units_of_weight(endpoints: &[Endpoint]) -> (u64, u64) {
    let weights = || endpoints.iter().map(|endpoint| u64::from(endpoint.weight));
    let unit = weights().fold(0, greatest_common_divisor).max(1);
    (weights().sum::<u64>() / unit, unit)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
