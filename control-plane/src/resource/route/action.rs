//! What becomes of a request that a rule matches.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, RetryPolicy, RouteAction,
    retry_policy::RetryBackOff,
    route::Action,
    route_action::{ClusterSpecifier, MaxStreamDuration, UpgradeConfig},
};

use super::{affinity, filters};
use crate::document::kind::{Listener, Match, Retry, RetryCondition, Rule, Timeouts};
use crate::resource::{boolean, duration, uint32};

/// Pauses between attempts grow up to so many times the first.
const MAX_BACKOFF: u32 = 10;

pub(super) fn action(listener: &Listener, rule: &Rule, condition: &Match) -> Action {
    let redirect = rule.filters.iter().find_map(|filter| filter.request_redirect.as_ref());
    if let Some(redirect) = redirect {
        return Action::Redirect(filters::redirect(listener, redirect, condition));
    }
    let Some(clusters) = clusters(rule) else { return nowhere() };
    let Timeouts { request, backend_request: _, idle, lifetime } = rule.timeouts;
    let upgrade = UpgradeConfig {
        upgrade_type: "websocket".to_owned(),
        enabled: Some(boolean(true)),
        connect_config: None,
    };
    let action = RouteAction {
        cluster_specifier: Some(clusters),
        // Envoy's default of 15 s would cut long downloads and streams that nobody asked to cut; the listener's idle timeout still
        // ends streams on which nothing moves.
        timeout: Some(duration(request.map_or(Duration::ZERO, spillway_policy::unit::Duration::get))),
        idle_timeout: idle.map(|time| duration(time.get())),
        max_stream_duration: lifetime.map(|time| MaxStreamDuration {
            max_stream_duration: Some(duration(time.get())),
            ..MaxStreamDuration::default()
        }),
        retry_policy: retry_policy(rule),
        upgrade_configs: rule.websocket.then_some(upgrade).into_iter().collect(),
        request_mirror_policies: filters::mirrors(&rule.filters),
        ..RouteAction::default()
    };
    Action::Route(filters::rewrite(&rule.filters, condition, affinity::hashed(rule, action)))
}

/// Where a rule leads; `None` if none of its backends has a weight.
fn clusters(rule: &Rule) -> Option<ClusterSpecifier> {
    let weighted: Vec<_> = rule.backend_refs.iter().filter(|reference| reference.weight > 0).collect();
    match weighted.as_slice() {
        [] => None,
        [only] => Some(ClusterSpecifier::Cluster(only.name.clone())),
        several => Some(ClusterSpecifier::WeightedClusters(affinity::weighted_clusters(rule, several))),
    }
}

/// Second attempts, and how long each may take. Without a policy there is one attempt; the time of one attempt is part of the policy all the same.
fn retry_policy(rule: &Rule) -> Option<RetryPolicy> {
    let per_try_timeout = rule.timeouts.backend_request.map(|time| duration(time.get()));
    let Some(retry) = &rule.retry else {
        return per_try_timeout.map(|time| RetryPolicy {
            num_retries: Some(uint32(0)),
            per_try_timeout: Some(time),
            ..RetryPolicy::default()
        });
    };
    // The budget belongs to the cluster.
    let Retry { attempts, codes, conditions, backoff, budget: _ } = retry;
    let mut names: Vec<_> = conditions.iter().map(|condition| condition.name()).collect();
    if !codes.is_empty() {
        names.push("retriable-status-codes");
    }
    if names.is_empty() {
        names = vec![RetryCondition::ConnectFailure.name(), RetryCondition::RefusedStream.name()];
    }
    Some(RetryPolicy {
        retry_on: names.join(","),
        num_retries: Some(uint32(attempts.get())),
        per_try_timeout,
        retriable_status_codes: codes.clone(),
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(duration(backoff.get())),
            max_interval: Some(duration(backoff.get().saturating_mul(MAX_BACKOFF))),
        }),
        ..RetryPolicy::default()
    })
}

/// The answer of a rule none of whose backends has a weight: 500, as the Gateway API asks of rules that lead nowhere.
fn nowhere() -> Action {
    Action::DirectResponse(DirectResponseAction {
        status: 500,
        body: Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(
                "no backend of this rule has a weight above 0\n".to_owned(),
            )),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    })
}

#[cfg(test)]
mod tests;
