//! What of Backends, and of what keeps requests on one endpoint, gRPC clients without a proxy understand.
//!
//! Endpoints, their weights and zones, draining, the DNS, `RingHash` and the bound on requests (gRFCs A27, A32, A42).

use crate::document::Step;
use crate::document::kind::{Backend, BalancingPolicy, ConnectionPool, HashKey, Rule};
use crate::model::build::steps;

/// The first field that such clients would not follow, and why.
pub(super) fn not_understood(backend: &Backend) -> Option<(&'static str, &'static str)> {
    let ConnectionPool {
        max_connections,
        max_pending_requests,
        max_requests: _,
        max_retries,
        connect_timeout,
        idle_timeout,
    } = &backend.connection_pool;
    let bounds = [
        max_connections.is_some(),
        max_pending_requests.is_some(),
        max_retries.is_some(),
        connect_timeout.is_some(),
        idle_timeout.is_some(),
    ];
    if backend.health_check.is_some() {
        Some(("healthCheck", "check no endpoints"))
    } else if backend.outlier_detection.is_some() {
        Some(("outlierDetection", "don't count errors in a row"))
    } else if !matches!(
        backend.load_balancing.policy,
        BalancingPolicy::RoundRobin | BalancingPolicy::RingHash
    ) {
        Some(("loadBalancing.policy", "know RoundRobin and RingHash only"))
    } else if backend.load_balancing.slow_start.is_some() {
        Some(("loadBalancing.slowStart", "have no slow start"))
    } else if bounds.contains(&true) {
        Some(("connectionPool", "know no bound but `maxRequests`"))
    } else {
        None
    }
}

/// The fields of a rule that such clients would not follow, and why.
pub(super) fn of_rule(rule: &Rule) -> Vec<(Vec<Step>, &'static str)> {
    let mut found = Vec::new();
    for (j, key) in rule.hash_on.iter().enumerate() {
        let what = match key {
            HashKey::Header(_) => continue,
            HashKey::RouteKey => "have no filter that makes a route key",
            HashKey::Cookie(_) => "have no cookies",
            HashKey::ClientAddress => "are the clients, and have one address",
        };
        found.push((steps!["hashOn", j].to_vec(), what));
    }
    if !rule.hash_on.is_empty() && rule.backend_refs.iter().filter(|one| one.weight > 0).count() > 1 {
        found.push((steps!["hashOn"].to_vec(), "choose between several Backends by chance"));
    }
    if rule.session_persistence.is_some() {
        found.push((steps!["sessionPersistence"].to_vec(), "have no cookies"));
    }
    found
}
