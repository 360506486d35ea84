use super::*;

#[test]
fn a_url_without_a_query_asks_for_what_is_looked_at() {
    for path in ["", "/stats/prometheus"] {
        let asked = missing(path).unwrap();
        assert!(asked.starts_with("/stats/prometheus?filter=%5Ewasmcustom%5C.spillway_%7C"), "{asked}");
    }
    let asked = missing("/prometheus/federate").unwrap();
    assert!(
        asked.starts_with("/prometheus/federate?match%5B%5D=%7B__name__%3D~%22spillway_%28requests%7C"),
        "{asked}"
    );
    assert_eq!(missing("/metrics"), None);
}

/// Every metric that is understood is asked for, by both names.
#[test]
fn what_is_asked_for_is_what_is_understood() {
    let names = [
        ("spillway_requests", "wasmcustom.spillway_requests"),
        ("spillway_rejected", "wasmcustom.spillway_rejected.kind.k.policy.p.rule.r"),
        ("spillway_shadowed", "wasmcustom.spillway_shadowed.kind.k.policy.p.rule.r"),
        ("spillway_breaker", "wasmcustom.spillway_breaker.policy.p.rule.r.to.open"),
        ("spillway_breaker_state", "wasmcustom.spillway_breaker_state.policy.p.rule.r.state.open"),
        ("spillway_in_flight", "wasmcustom.spillway_in_flight.policy.p.rule.r"),
        ("spillway_concurrency_limit", "wasmcustom.spillway_concurrency_limit.policy.p.rule.r"),
        ("spillway_saturation_percent", "wasmcustom.spillway_saturation_percent.policy.p.rule.r"),
        ("spillway_shed", "wasmcustom.spillway_shed.policy.p.rule.r.level.low"),
        ("spillway_degrade_in_force", "wasmcustom.spillway_degrade_in_force.policy.p.rule.r"),
        ("envoy_cluster_upstream_rq_total", "cluster.b.upstream_rq_total"),
        ("envoy_cluster_upstream_rq_xx", "cluster.b.upstream_rq_5xx"),
        ("envoy_cluster_upstream_rq_time_bucket", "cluster.b.upstream_rq_time"),
        ("envoy_cluster_upstream_rq_retry", "cluster.b.upstream_rq_retry"),
        ("envoy_cluster_upstream_rq_timeout", "cluster.b.upstream_rq_timeout"),
        ("envoy_cluster_upstream_rq_active", "cluster.b.upstream_rq_active"),
        ("envoy_cluster_membership_total", "cluster.b.membership_total"),
        ("envoy_cluster_membership_healthy", "cluster.b.membership_healthy"),
    ];
    let values =
        [("kind", "k"), ("policy", "p"), ("rule", "r"), ("to", "open"), ("state", "open"), ("level", "low")];
    let values = values.into_iter().chain([
        ("envoy_cluster_name", "b"),
        ("envoy_response_code_class", "5"),
        ("le", "0.5"),
    ]);
    let labels = values.map(|(name, value)| (name, value.to_owned())).collect();
    let regex = |text: &str| regex_lite::Regex::new(text).unwrap();
    let of_envoy = regex(meaning::ENVOY_FILTER);
    let expression = meaning::PROMETHEUS_MATCH.split('"').nth(1).unwrap();
    let of_prometheus = regex(&format!("^(?:{expression})$"));
    for (name, in_envoy) in names {
        assert!(meaning::Meaning::of(name, &labels).is_some(), "{name}");
        assert!(of_envoy.is_match(in_envoy), "{in_envoy}");
        assert!(of_prometheus.is_match(name), "{name}");
    }
    for other in
        ["cluster.b.upstream_rq_200", "cluster.b.c.upstream_rq_total", "listener.a.downstream_cx_total"]
    {
        assert!(!of_envoy.is_match(other), "{other}");
    }
    for other in ["envoy_cluster_upstream_rq", "envoy_cluster_upstream_rq_time_sum", "spillway_proxies"] {
        assert!(!of_prometheus.is_match(other), "{other}");
        assert_eq!(meaning::Meaning::of(other, &labels), None);
    }
}

#[test]
fn clusters_of_ours_are_no_backends() {
    let of = |name: &str| {
        let labels = [("envoy_cluster_name", name.to_owned())].into();
        meaning::Meaning::of("envoy_cluster_upstream_rq_total", &labels).is_some()
    };
    assert!(of("orders") && of("spillways"));
    assert!(!of("spillway") && !of("spillway/tracing/collector_4317"));
}

#[test]
fn without_sources_the_text_says_how_to_name_some() {
    let picture = Model::new("http://s", []).picture(0.0);
    let shown = text(&picture);
    assert!(
        shown.starts_with("http://s\n\nFleets\nno fleets\n\nRoutes\nno metrics: name each Envoy (--metrics "),
        "{shown}"
    );
    assert_eq!(shown.matches("no metrics").count(), 1, "{shown}");
}
