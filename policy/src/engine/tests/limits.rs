//! Limits, as requests meet them.

use serde_json::json;

use super::*;

#[test]
fn a_request_takes_from_every_limit_or_from_none() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [
            { "name": "wide", "rate": "1/h", "burst": 3 },
            { "name": "narrow", "rate": "1/h", "burst": 1, "key": [{ "header": "k" }] }] },
        { "name": "q", "rateLimits": [{ "name": "slow", "rate": "1/m", "burst": 3 }] }
    ]));
    let key = |key: &str| Described::default().header("k", key);
    assert!(passes(&mut engine, &key("a"), &mut store, SECOND));
    for _ in 0..5 {
        let decision = engine.decide(&key("a"), &mut store, SECOND);
        assert_eq!(rejected(&decision.verdict).as_deref(), Some("rate-limit/p/narrow after 3600"));
    }
    assert!(passes(&mut engine, &key("b"), &mut store, SECOND), "the rejects took nothing from the wide one");
    assert!(passes(&mut engine, &key("c"), &mut store, SECOND));
    let decision = engine.decide(&key("d"), &mut store, SECOND);
    assert_eq!(
        rejected(&decision.verdict).as_deref(),
        Some("rate-limit/p/wide after 3600"),
        "the longest wait"
    );
}

#[test]
fn a_rule_about_some_requests_leaves_the_others_alone() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h", "when": [{ "method": "POST" }] }] }
    ]));
    let (get, post) = (Described::default(), Described::default().header(":method", "POST"));
    assert_eq!(count(&mut engine, &get, &mut store, SECOND, 5), 5);
    assert_eq!(count(&mut engine, &post, &mut store, SECOND, 5), 1);
}

#[test]
fn a_request_takes_as_many_tokens_as_it_costs() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/m", "burst": 10, "cost": { "header": "x-cost", "max": 10 } }] }
    ]));
    let costing = |cost: &str| Described::default().header("x-cost", cost);
    assert!(passes(&mut engine, &costing("7"), &mut store, SECOND));
    let decision = engine.decide(&costing("5"), &mut store, SECOND);
    assert_eq!(rejected(&decision.verdict).as_deref(), Some("rate-limit/p/r after 120"), "three are left");
    assert!(passes(&mut engine, &costing("3"), &mut store, SECOND));
    assert!(!passes(&mut engine, &costing("x"), &mut store, SECOND));
}

#[test]
fn some_keys_have_another_rate_or_none() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h", "key": [{ "header": "k" }],
          "overrides": [{ "key": "acme", "rate": "1/h", "burst": 5 }, { "key": "probe", "unlimited": true }] }] }
    ]));
    for (key, expected) in [("acme", 5), ("probe", 20), ("other", 1), ("Acme", 1)] {
        assert_eq!(
            count(&mut engine, &Described::default().header("k", key), &mut store, SECOND, 20),
            expected,
            "{key}"
        );
    }
}

#[test]
fn what_clients_are_told_is_true() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "6/m", "burst": 3, "rateLimitHeaders": true },
          { "name": "quiet", "rate": "100/s" }] }
    ]));
    let mut told = |now| {
        let decision = engine.decide(&Described::default(), &mut store, now);
        let limits = decision.limits.unwrap();
        assert_eq!(limits.policy, "\"r\";q=3;w=30");
        (limits.rate_limit.to_owned(), matches!(decision.verdict, Verdict::Admit(_)))
    };
    assert_eq!(told(SECOND), ("\"r\";r=2;t=10".into(), true));
    assert_eq!(told(SECOND), ("\"r\";r=1;t=10".into(), true));
    assert_eq!(told(4 * SECOND), ("\"r\";r=0;t=7".into(), true));
    assert_eq!(told(5 * SECOND), ("\"r\";r=0;t=6".into(), false));
    assert_eq!(told(11 * SECOND), ("\"r\";r=0;t=10".into(), true), "as it said");
}

#[test]
fn of_several_that_reject_the_longest_wait_is_named_and_of_equal_ones_the_first() {
    let named = |rates: [&str; 3]| {
        let rules: Vec<_> = rates
            .iter()
            .zip(["a", "b", "c"])
            .map(|(rate, name)| json!({ "name": name, "rate": rate, "burst": 1 }))
            .collect();
        let (mut engine, mut store) =
            (engine(json!([{ "name": "p", "rateLimits": rules }])), Shared::default());
        assert!(passes(&mut engine, &Described::default(), &mut store, SECOND));
        rejected(&engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap()
    };
    assert_eq!(named(["1/h", "1/m", "1/s"]), "rate-limit/p/a after 3600");
    assert_eq!(named(["1/m", "1/h", "1/s"]), "rate-limit/p/b after 3600");
    assert_eq!(named(["1/s", "1/m", "1/h"]), "rate-limit/p/c after 3600");
    assert_eq!(named(["1/m", "1/h", "1/h"]), "rate-limit/p/b after 3600");
}
