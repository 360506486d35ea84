//! Which metrics of a data plane are looked at, and what each of their samples is about.

use std::collections::BTreeMap;

use crate::bootstrap::CONTROL_PLANE_CLUSTER;

/// What names of Envoy's own statistics that are asked for look like: those of the filter and of Backends.
pub(super) const ENVOY_FILTER: &str = "^wasmcustom\\.spillway_|^cluster\\.[^.]+\\.(upstream_rq_(total|[1-5]xx|time|retry|timeout|active)|membership_(total|healthy))$";

/// What a Prometheus is asked for: the same under the names that it has there.
pub(super) const PROMETHEUS_MATCH: &str = "{__name__=~\"spillway_(requests|rejected|shadowed|breaker|breaker_state|in_flight|concurrency_limit|saturation_percent|shed|degrade_in_force)|envoy_cluster_(upstream_rq_(total|xx|time_bucket|retry|timeout|active)|membership_(total|healthy))\"}";

/// The kind of rules whose states have a view of their own.
pub(super) const BREAKER: &str = "circuit-breaker";

/// A rule of a policy.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_field_names, reason = "the labels' names")]
pub(super) struct Rule {
    pub(super) kind: String,
    pub(super) policy: String,
    pub(super) rule: String,
}

/// What a sample is about.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meaning {
    /// Requests that passed through the filter.
    Requests,
    /// Something that a rule counts.
    OfRule(Rule, OfRule),
    /// Something about a Backend.
    OfBackend(String, OfBackend),
}

/// What a rule counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OfRule {
    Rejected,
    Shadowed,
    /// A breaker that went into this state.
    Became(String),
    /// Breakers that are in this state.
    Is(String),
    InFlight,
    /// How many may be in flight, of one key at one Envoy.
    Limit,
    /// The largest share of that, in percent.
    Saturation,
    /// Requests that were given up.
    Shed,
    /// Whether requests are given up now.
    Sheds,
}

/// What is known of a Backend.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum OfBackend {
    Requests,
    /// Answers with a status of this hundred.
    Class(u8),
    /// Answers within so many milliseconds.
    Within(f64),
    Retries,
    Timeouts,
    Active,
    Endpoints,
    Healthy,
}

impl Meaning {
    /// `None` for what nobody looks at.
    pub(super) fn of(name: &str, labels: &BTreeMap<&str, String>) -> Option<Self> {
        let label = |name: &str| labels.get(name).cloned();
        if let Some(name) = name.strip_prefix("envoy_cluster_") {
            let of_backend = match name {
                "upstream_rq_total" => OfBackend::Requests,
                "upstream_rq_xx" => OfBackend::Class(label("envoy_response_code_class")?.parse().ok()?),
                "upstream_rq_time_bucket" => OfBackend::Within(label("le")?.parse().ok()?),
                "upstream_rq_retry" => OfBackend::Retries,
                "upstream_rq_timeout" => OfBackend::Timeouts,
                "upstream_rq_active" => OfBackend::Active,
                "membership_total" => OfBackend::Endpoints,
                "membership_healthy" => OfBackend::Healthy,
                _ => return None,
            };
            let cluster = label("envoy_cluster_name")?;
            // An Envoy's clusters for ourselves, the control plane and collectors, are no Backends.
            let is_ours = cluster.split('/').next() == Some(CONTROL_PLANE_CLUSTER);
            return (!is_ours).then_some(Self::OfBackend(cluster, of_backend));
        }
        let (kind, of_rule) = match name.strip_prefix("spillway_")? {
            "requests" => return Some(Self::Requests),
            "rejected" => (label("kind")?, OfRule::Rejected),
            "shadowed" => (label("kind")?, OfRule::Shadowed),
            "breaker" => (BREAKER.to_owned(), OfRule::Became(label("to")?)),
            "breaker_state" => (BREAKER.to_owned(), OfRule::Is(label("state")?)),
            "in_flight" => ("concurrency".to_owned(), OfRule::InFlight),
            "concurrency_limit" => ("concurrency".to_owned(), OfRule::Limit),
            "saturation_percent" => ("concurrency".to_owned(), OfRule::Saturation),
            "shed" => ("degrade".to_owned(), OfRule::Shed),
            "degrade_in_force" => ("degrade".to_owned(), OfRule::Sheds),
            _ => return None,
        };
        Some(Self::OfRule(Rule { kind, policy: label("policy")?, rule: label("rule")? }, of_rule))
    }

    /// Whether it goes up and down, so that it is its value that tells something and not how fast it grows.
    pub(super) fn is_gauge(&self) -> bool {
        match self {
            Self::Requests => false,
            Self::OfRule(_, of_rule) => match of_rule {
                OfRule::Rejected | OfRule::Shadowed | OfRule::Became(_) | OfRule::Shed => false,
                OfRule::Is(_) | OfRule::InFlight | OfRule::Limit | OfRule::Saturation | OfRule::Sheds => true,
            },
            Self::OfBackend(_, of_backend) => {
                matches!(of_backend, OfBackend::Active | OfBackend::Endpoints | OfBackend::Healthy)
            }
        }
    }
}
