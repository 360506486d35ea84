use super::*;
use crate::host::fake::Fake;

const REJECT: Reject<'static> = Reject {
    kind: Kind::RateLimit,
    policy: "orders",
    rule: "per-tenant",
    level: None,
    status: 429,
    grpc_status: 8,
    retry_after_secs: 1,
    body: None,
    headers: &[],
};

const EVERY_KIND: &[u8] = br#"{"policies": [{"name": "orders",
    "rateLimits": [{"name": "per-tenant", "rate": "1/s"}, {"name": "trial", "rate": "1/s", "mode": "shadow"}],
    "circuitBreakers": [{"name": "backend", "window": "10s", "minRequests": 1, "trip": {"errorRatio": "50%"}, "openFor": "1s", "probes": 1}],
    "concurrency": [{"name": "places", "max": 10}],
    "priority": {"from": [{"header": "x-priority"}], "default": "high", "levels": ["high", "low"]},
    "degrade": [{"name": "mild", "when": {"saturation": "80%"}, "shed": ["low"]}, {"name": "hard", "when": {"saturation": "90%"}, "admit": "50%"}]}]}"#;

/// What [`EVERY_KIND`] has.
const EVERY_METRIC: [&str; 21] = [
    "spillway_requests",
    "spillway_store_retries",
    "spillway_rejected.kind.rate-limit.policy.orders.rule.per-tenant",
    "spillway_shadowed.kind.rate-limit.policy.orders.rule.trial",
    "spillway_rejected.kind.circuit-breaker.policy.orders.rule.backend",
    "spillway_breaker.policy.orders.rule.backend.to.open",
    "spillway_breaker.policy.orders.rule.backend.to.half-open",
    "spillway_breaker.policy.orders.rule.backend.to.closed",
    "spillway_breaker_state.policy.orders.rule.backend.state.open",
    "spillway_breaker_state.policy.orders.rule.backend.state.half-open",
    "spillway_rejected.kind.concurrency.policy.orders.rule.places",
    "spillway_in_flight.policy.orders.rule.places",
    "spillway_concurrency_limit.policy.orders.rule.places",
    "spillway_saturation_percent.policy.orders.rule.places",
    "spillway_rejected.kind.degrade.policy.orders.rule.mild",
    "spillway_degrade_in_force.policy.orders.rule.mild",
    "spillway_shed.policy.orders.rule.mild.level.low",
    "spillway_rejected.kind.degrade.policy.orders.rule.hard",
    "spillway_degrade_in_force.policy.orders.rule.hard",
    "spillway_shed.policy.orders.rule.hard.level.high",
    "spillway_shed.policy.orders.rule.hard.level.low",
];

fn breakers(open: u32, half_open: u32) -> Reading<'static> {
    Reading::Breakers { policy: "orders", rule: "backend", open, half_open }
}

#[test]
fn counts_travel_together_and_each_metric_is_defined_once() {
    let (host, mut metrics) = (Fake::default(), Metrics::default());
    metrics.flush(&host);
    assert_eq!(host.calls(), [""; 0], "what was never counted does not exist");

    for _ in 0..3 {
        metrics.request();
        metrics.rejected(&REJECT);
    }
    metrics.flush(&host);
    metrics.request();
    metrics.flush(&host);
    assert_eq!(host.counter("spillway_requests"), 4);
    assert_eq!(host.counter("spillway_rejected.kind.rate-limit.policy.orders.rule.per-tenant"), 3);
    assert_eq!(host.calls().iter().filter(|call| call.starts_with("define")).count(), 2);
}

#[test]
fn what_a_configuration_can_count_is_there_before_it_counts() {
    let (host, mut metrics) = (Fake::default(), Metrics::default());
    let configuration = Configuration::parse(EVERY_KIND).unwrap();
    metrics.announce(1, &configuration, &host);
    for name in EVERY_METRIC {
        assert_eq!(host.metric(name), Some(0), "{name}");
    }
    assert_eq!(host.metrics(), EVERY_METRIC.len());
    // Counting and another configuration define nothing again.
    metrics.rejected(&REJECT);
    for level in ["low", "high"] {
        metrics.rejected(&Reject { kind: Kind::Degrade, rule: "hard", level: Some(level), ..REJECT });
    }
    metrics.show(1, &breakers(1, 0));
    metrics.flush(&host);
    metrics.announce(1, &configuration, &host);
    assert_eq!(host.calls().iter().filter(|call| call.starts_with("define")).count(), EVERY_METRIC.len());
}

#[test]
fn sheds_are_counted_by_level_and_those_without_under_all() {
    let (host, mut metrics) = (Fake::default(), Metrics::default());
    let shed = |level| Reject { kind: Kind::Degrade, rule: "hard", level, ..REJECT };
    for level in [Some("low"), Some("low"), Some("high"), None] {
        metrics.rejected(&shed(level));
    }
    metrics.shadowed(&shed(Some("low")));
    metrics.flush(&host);
    for (level, count) in [("low", 2), ("high", 1), ("all", 1)] {
        assert_eq!(host.counter(&format!("spillway_shed.policy.orders.rule.hard.level.{level}")), count);
    }
    assert_eq!(host.counter("spillway_rejected.kind.degrade.policy.orders.rule.hard"), 4);
    assert_eq!(host.counter("spillway_shadowed.kind.degrade.policy.orders.rule.hard"), 1);
}

#[test]
fn the_last_word_stands_as_long_as_a_configuration_has_the_rule() {
    const OPEN: &str = "spillway_breaker_state.policy.orders.rule.backend.state.open";
    const HALF_OPEN: &str = "spillway_breaker_state.policy.orders.rule.backend.state.half-open";
    let host = Fake::default();
    let (mut one, mut other) = (Metrics::default(), Metrics::default());
    one.show(1, &breakers(3, 1));
    one.flush(&host);
    assert_eq!((host.metric(OPEN), host.metric(HALF_OPEN)), (Some(3), Some(1)));
    other.show(1, &breakers(2, 0));
    other.flush(&host);
    assert_eq!((host.metric(OPEN), host.metric(HALF_OPEN)), (Some(2), Some(0)), "one gauge for all workers");
    one.show(1, &breakers(3, 1));
    one.flush(&host);
    assert_eq!(host.metric(OPEN), Some(3), "the same again is told again");

    // The next configuration has the rule, too; what comes after it has not.
    let configuration = Configuration::parse(EVERY_KIND).unwrap();
    one.announce(2, &configuration, &host);
    host.calls();
    one.keep(|root| root == 2);
    one.flush(&host);
    assert_eq!(host.calls(), [""; 0], "nothing is new");
    one.keep(|root| root == 3);
    one.flush(&host);
    assert_eq!((host.metric(OPEN), host.metric(HALF_OPEN)), (Some(0), Some(0)));
    one.keep(|root| root == 3);
    host.calls();
    one.flush(&host);
    assert_eq!(host.calls(), [""; 0], "it is shown as gone once");
}

#[test]
fn counters_find_room_whatever_there_is_to_show() {
    let (host, mut metrics) = (Fake::default(), Metrics::default());
    let configuration = |name: &str, rules: usize| {
        let rules: Vec<_> = (0..rules).map(|rule| format!(r#"{{"name": "c{rule}", "max": 1}}"#)).collect();
        let rules = rules.join(",");
        let json = format!(r#"{{"policies": [{{"name": "{name}", "concurrency": [{rules}]}}]}}"#);
        Configuration::parse(json.as_bytes()).unwrap()
    };
    let rejected = |policy: &str, rule: usize| {
        host.metric(&format!("spillway_rejected.kind.concurrency.policy.{policy}.rule.c{rule}"))
    };
    metrics.announce(1, &configuration("one", 1_500), &host);
    assert!((0..1_500).all(|rule| rejected("one", rule) == Some(0)), "all that can be rejected is counted");
    assert_eq!(host.metric("spillway_in_flight.policy.one.rule.c0"), Some(0));
    assert_eq!(host.metrics(), 2 + 1_500 + MOST_GAUGES, "and as much is shown as may be");
    // Gauges of the past leave room for what comes.
    metrics.announce(2, &configuration("other", 500), &host);
    assert!((0..500).all(|rule| rejected("other", rule) == Some(0)));
    metrics.flush(&host);
    assert!(host.logged().contains("not counted"), "{}", host.logged());
}

#[test]
fn names_are_bounded_whatever_they_count() {
    let (host, mut metrics) = (Fake::default(), Metrics::default());
    for number in 0..=MOST {
        let rule = &format!("r{number}");
        metrics.rejected(&Reject { rule, ..REJECT });
        metrics.show(1, &Reading::Breakers { policy: "orders", rule, open: 1, half_open: 0 });
    }
    metrics.flush(&host);
    assert_eq!(host.metrics(), MOST);
    assert!(host.logged().contains("not counted"), "{}", host.logged());
    for _ in 0..9 {
        metrics.rejected(&Reject { rule: "another", ..REJECT });
        metrics.flush(&host);
    }
    assert_eq!((host.metrics(), host.logged().lines().count()), (MOST, 1), "it is said once");
    metrics.rejected(&Reject { rule: "r0", ..REJECT });
    metrics.flush(&host);
    assert_eq!(host.counter("spillway_rejected.kind.rate-limit.policy.orders.rule.r0"), 2);
}
