use super::*;
use crate::resource::route::tests::routes;

/// What becomes of requests of a rule that is given as what it has beside its name.
fn of_rule(rule: &str) -> Action {
    let config = routes(&[&format!("rules: [{{name: api, {rule}}}]")]);
    config.virtual_hosts[0].routes[0].action.clone().unwrap()
}

fn sent(rule: &str) -> RouteAction {
    match of_rule(&format!("{rule}, backendRefs: [{{name: a}}]")) {
        Action::Route(action) => action,
        other => panic!("{other:?}"),
    }
}

#[test]
fn traffic_is_split_by_weight() {
    let Action::Route(action) = of_rule("backendRefs: [{name: a, weight: 70}, {name: b, weight: 30}]") else {
        panic!()
    };
    let Some(ClusterSpecifier::WeightedClusters(split)) = action.cluster_specifier else { panic!() };
    let weights: Vec<_> = split.clusters.iter().map(|one| (&*one.name, one.weight.unwrap().value)).collect();
    assert_eq!(weights, [("a", 70), ("b", 30)]);

    let Action::Route(action) = of_rule("backendRefs: [{name: a, weight: 0}, {name: b, weight: 5}]") else {
        panic!()
    };
    assert_eq!(action.cluster_specifier, Some(ClusterSpecifier::Cluster("b".into())));
}

#[test]
fn a_rule_without_weight_answers_for_itself() {
    let Action::DirectResponse(response) =
        of_rule("backendRefs: [{name: a, weight: 0}, {name: b, weight: 0}]")
    else {
        panic!()
    };
    assert_eq!(response.status, 500);
}

#[test]
fn times_are_those_of_the_rule() {
    let action = sent("timeouts: {request: 2s, backendRequest: 500ms, idle: 60s, lifetime: 24h}");
    assert_eq!(action.timeout.unwrap().seconds, 2);
    assert_eq!(action.idle_timeout.unwrap().seconds, 60);
    assert_eq!(action.max_stream_duration.unwrap().max_stream_duration.unwrap().seconds, 86_400);
    let policy = action.retry_policy.unwrap();
    assert_eq!(policy.per_try_timeout.unwrap().nanos, 500_000_000);
    assert_eq!((policy.retry_on.as_str(), policy.num_retries.unwrap().value), ("", 0), "one attempt");

    let action = sent("websocket: false");
    assert_eq!(action.timeout.unwrap().seconds, 0, "for ever, and not Envoy's 15 s");
    assert!(action.idle_timeout.is_none() && action.max_stream_duration.is_none());
    assert!(action.retry_policy.is_none() && action.upgrade_configs.is_empty());
}

#[test]
fn attempts_are_made_again_after_what_the_rule_names() {
    let policy = |retry: &str| sent(&format!("retry: {retry}")).retry_policy.unwrap();
    let one =
        policy("{attempts: 2, codes: [502, 503], conditions: [reset, 5xx, unavailable], backoff: 10ms}");
    assert_eq!(one.retry_on, "reset,5xx,unavailable,retriable-status-codes");
    assert_eq!(one.retriable_status_codes, [502, 503]);
    assert_eq!(one.num_retries.unwrap().value, 2);
    let pause = one.retry_back_off.unwrap();
    assert_eq!(
        (pause.base_interval.unwrap().nanos, pause.max_interval.unwrap().nanos),
        (10_000_000, 100_000_000)
    );
    assert_eq!(policy("{}").retry_on, "connect-failure,refused-stream", "what no backend has seen");
    assert_eq!(policy("{codes: [503]}").retry_on, "retriable-status-codes");
}

#[test]
fn an_upgrade_is_allowed_where_it_is_asked_for() {
    let upgrades = sent("websocket: true").upgrade_configs;
    assert_eq!(upgrades[0].upgrade_type, "websocket");
    assert_eq!(upgrades[0].enabled, Some(boolean(true)));
}
