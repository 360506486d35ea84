use super::*;

fn told(first: &str, second: &str) -> Source {
    let mut source = Source::new("a");
    source.take(first, 1.0);
    source.take(second, 3.0);
    source
}

#[test]
fn sources_are_added_up() {
    let one = |requests: u32, retries: u32, bucket: u32| {
        format!(
            "spillway_requests {requests}\n\
             envoy_cluster_upstream_rq_total{{envoy_cluster_name=\"b\"}} {requests}\n\
             envoy_cluster_upstream_rq_xx{{envoy_cluster_name=\"b\",envoy_response_code_class=\"5\"}} {retries}\n\
             envoy_cluster_upstream_rq_retry{{envoy_cluster_name=\"b\"}} {retries}\n\
             envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"b\",le=\"10\"}} {bucket}\n\
             envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"b\",le=\"+Inf\"}} {bucket}\n\
             envoy_cluster_membership_total{{envoy_cluster_name=\"b\"}} 3\n\
             envoy_cluster_membership_healthy{{envoy_cluster_name=\"b\"}} 2\n"
        )
    };
    let mut sources =
        vec![told(&one(0, 0, 0), &one(20, 2, 10)), told(&one(5, 0, 1), &one(9, 4, 3)), Source::new("c")];
    let leading = BTreeMap::from([("b".to_owned(), vec!["site/all".to_owned()])]);
    let figures = Figures::of(&sources, &leading);
    assert_eq!((figures.envoys, figures.requests), (2, Some(12.0)));
    let [backend] = figures.routes.as_slice() else { panic!("{figures:?}") };
    assert_eq!((backend.backend.as_str(), backend.routes.as_slice()), ("b", &["site/all".to_owned()][..]));
    assert_eq!((backend.requests, backend.retries, backend.timeouts), (Some(12.0), Some(3.0), None));
    assert_eq!(backend.statuses, BTreeMap::from([(5, Some(3.0))]));
    assert_eq!((backend.healthy, backend.endpoints), (4.0, 6.0));
    assert_eq!((backend.p50, backend.p99.map(f64::round)), (Some(5.0), Some(10.0)));

    // What a source said before it went away counts for nothing.
    sources.remove(0);
    sources.first_mut().unwrap().miss("gone", 4.0);
    assert_eq!(Figures::of(&sources, &leading), Figures::default());
}

#[test]
fn rules_have_what_they_count() {
    let text = |n: u32| {
        format!(
            "spillway_rejected{{kind=\"rate-limit\",policy=\"fair\",rule=\"all\"}} {n}\n\
             spillway_shadowed{{kind=\"rate-limit\",policy=\"fair\",rule=\"all\"}} {n}\n\
             spillway_shed{{policy=\"fair\",rule=\"rest\",level=\"low\"}} {n}\n\
             spillway_shed{{policy=\"fair\",rule=\"rest\",level=\"high\"}} {n}\n\
             spillway_degrade_in_force{{policy=\"fair\",rule=\"rest\"}} 1\n\
             spillway_in_flight{{policy=\"fair\",rule=\"few\"}} 3\n\
             spillway_concurrency_limit{{policy=\"fair\",rule=\"few\"}} 10\n\
             spillway_saturation_percent{{policy=\"fair\",rule=\"few\"}} {n}\n"
        )
    };
    let figures = Figures::of(&[told(&text(0), &text(10)), told(&text(0), &text(30))], &BTreeMap::new());
    assert_eq!((figures.rejected, figures.shadowed), (Some(20.0), Some(20.0)));
    let kinds: Vec<_> = figures.rules.iter().map(|rule| (rule.kind.as_str(), rule.rule.as_str())).collect();
    assert_eq!(kinds, [("concurrency", "few"), ("degrade", "rest"), ("rate-limit", "all")]);
    let [few, rest, all] = figures.rules.as_slice() else { panic!("{figures:?}") };
    assert_eq!((few.in_flight, few.limit, few.saturation), (Some(6.0), Some(10.0), Some(30.0)));
    assert_eq!((rest.shed, rest.sheds_in, rest.rejected), (Some(40.0), Some(2.0), None));
    assert_eq!((all.rejected, all.shadowed, all.limit), (Some(20.0), Some(20.0), None));
}

#[test]
fn breakers_have_their_states_and_changes() {
    let text = |opened: u32, open: u32| {
        format!(
            "spillway_breaker{{policy=\"p\",rule=\"b\",to=\"open\"}} {opened}\n\
             spillway_breaker{{policy=\"p\",rule=\"b\",to=\"half-open\"}} 1\n\
             spillway_breaker{{policy=\"p\",rule=\"b\",to=\"closed\"}} 0\n\
             spillway_breaker_state{{policy=\"p\",rule=\"b\",state=\"open\"}} {open}\n\
             spillway_breaker_state{{policy=\"p\",rule=\"b\",state=\"half-open\"}} 0\n\
             spillway_rejected{{kind=\"circuit-breaker\",policy=\"p\",rule=\"b\"}} {opened}\n"
        )
    };
    let figures =
        Figures::of(&[told(&text(2, 0), &text(4, 1)), told(&text(0, 0), &text(0, 2))], &BTreeMap::new());
    let expected = Breaker {
        policy: "p".into(),
        rule: "b".into(),
        open: Some(3.0),
        half_open: Some(0.0),
        opened: 4.0,
        half_opened: 2.0,
        closed: 0.0,
        changes: Some(1.0),
        rejected: Some(1.0),
    };
    assert_eq!(figures.breakers, [expected]);
}
