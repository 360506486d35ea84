use super::*;
use crate::config::Configuration;
use crate::store::Memory;
use crate::testing::{Described, SECOND, Shared};

const POLICIES: &str = r#"{"policies": [
    {"name": "fair", "routeKey": [{"header": "x-tenant"}],
     "priority": {"from": [{"header": "x-priority"}], "default": "normal", "levels": ["normal", "low"]},
     "rateLimits": [
        {"name": "tenant", "key": ["routeKey"], "rate": "2/m", "burst": 2, "cost": {"header": "x-cost", "max": 2},
         "overrides": [{"key": "probe", "unlimited": true}]},
        {"name": "writes", "rate": "1/s", "when": [{"method": "POST"}], "mode": "shadow"}],
     "circuitBreakers": [{"name": "care", "key": ["backend"], "window": "10s", "minRequests": 1,
        "trip": {"errorCount": 1}, "openFor": "1s", "probes": 1}],
     "concurrency": [{"name": "pool", "max": 10}],
     "degrade": [{"name": "mild", "when": {"saturation": "80%"}, "shed": ["low"]}]},
    {"name": "elsewhere", "appliesTo": [{"route": "a/b"}], "rateLimits": [{"name": "l", "rate": "1/s"}]}]}"#;

fn engine() -> Engine {
    Engine::new(Configuration::parse(POLICIES.as_bytes()).unwrap()).unwrap()
}

fn said(explanation: &Explanation) -> Vec<(&str, Option<&[u8]>, Says)> {
    explanation.rules.iter().map(|rule| (rule.rule.as_str(), rule.key.as_deref(), rule.says)).collect()
}

#[test]
fn every_rule_that_applies_is_asked_in_order_and_nothing_is_taken() {
    let (mut engine, mut store) = (engine(), Memory::default());
    let request = Described::backend("v1").header("x-tenant", "acme").header("x-cost", "9");
    let first = engine.explain(&request, &mut store, SECOND);
    assert_eq!(first.route_key, Some(("fair".into(), Some(b"acme".to_vec()))));
    assert_eq!(first.priority, Some(("fair".into(), "normal".into())));
    let closed = Says::Breaker { state: BreakerState::Closed, wait: None };
    let tokens = Says::Tokens { cost: 2, left: Some(2), burst: Some(2), wait: None };
    assert_eq!(
        said(&first),
        [
            ("mild", None, Says::NotConcerned),
            ("care", Some(&b"v1"[..]), closed),
            ("pool", None, Says::InFlight { count: 1, limit: 10 }),
            ("tenant", Some(b"acme"), tokens),
            ("writes", None, Says::NotConcerned),
        ]
    );
    assert!(first.rules.iter().all(|rule| rule.says.passes()));
    assert_eq!(engine.explain(&request, &mut store, SECOND), first, "asking costs nothing");
}

#[test]
fn an_explanation_follows_the_state() {
    let (mut engine, mut store) = (engine(), Memory::default());
    let request = Described::backend("v1").header("x-tenant", "acme").header("x-cost", "2");
    let admitted = engine.decide(&request, &mut store, SECOND);
    assert!(matches!(admitted.verdict, crate::engine::Verdict::Admit(_)));
    let explanation = engine.explain(&request, &mut store, SECOND);
    let wait = Some(60 * SECOND);
    let empty = Says::Tokens { cost: 2, left: Some(0), burst: Some(2), wait };
    assert_eq!(said(&explanation)[2], ("pool", None, Says::InFlight { count: 2, limit: 10 }));
    assert_eq!(said(&explanation)[3], ("tenant", Some(&b"acme"[..]), empty));
    assert!(!explanation.rules[3].says.passes());
}

#[test]
fn levels_methods_and_overrides_count() {
    let (mut engine, mut store) = (engine(), Memory::default());
    let request = Described::default()
        .header("x-tenant", "probe")
        .header("x-priority", "low")
        .header(":method", "POST");
    let explanation = engine.explain(&request, &mut store, SECOND);
    assert_eq!(explanation.priority, Some(("fair".into(), "low".into())));
    assert_eq!(said(&explanation)[0].2, Says::Pressure { in_force: false });
    assert_eq!(said(&explanation)[3].2, Says::Unlimited);
    assert!(explanation.rules[4].is_shadow);
    assert_eq!(said(&explanation)[4].2, Says::Tokens { cost: 1, left: Some(1), burst: Some(1), wait: None });
    let nobody = engine.explain(&Described::default(), &mut store, SECOND);
    assert_eq!(nobody.route_key, Some(("fair".into(), None)));
}

#[test]
fn who_is_open_or_full_or_does_not_answer_is_said_so() {
    let breaker = |state| Says::Breaker { state, wait: None }.passes();
    assert_eq!(BreakerState::ALL.map(breaker), [true, false, true], "closed, open, half-open");
    assert!(Says::InFlight { count: 10, limit: 10 }.passes());
    assert!(!Says::InFlight { count: 11, limit: 10 }.passes());
    assert!(!Says::Pressure { in_force: true }.passes());

    let rules = |says: &str| {
        let configuration = POLICIES
            .replace(r#""burst": 2,"#, &format!(r#""burst": 2, "onFailure": "{says}","#))
            .replace(r#""name": "care","#, &format!(r#""name": "care", "onFailure": "{says}","#))
            .replace(r#""name": "pool","#, &format!(r#""name": "pool", "onFailure": "{says}","#));
        let mut engine = Engine::new(Configuration::parse(configuration.as_bytes()).unwrap()).unwrap();
        let mut store = Shared::default();
        store.fail(0, 100);
        let request = Described::backend("v1").header("x-tenant", "acme");
        engine.explain(&request, &mut store, SECOND).rules
    };
    for (says, passes) in [("allow", true), ("deny", false)] {
        let rules = rules(says);
        for name in ["care", "pool", "tenant"] {
            let rule = rules.iter().find(|rule| rule.rule == name).unwrap();
            assert_eq!(rule.says, Says::NoAnswer { passes }, "{name}: {says}");
            assert_eq!(rule.says.passes(), passes);
        }
    }
}
