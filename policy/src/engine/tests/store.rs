//! State in the store, and a store that does not answer.

use serde_json::json;

use super::*;

#[test]
fn state_belongs_to_policy_and_rule_and_outlives_the_engine() {
    let mut store = Shared::default();
    assert_eq!(count(&mut engine(limit("1/h", 3)), &Described::default(), &mut store, SECOND, 2), 2);
    let mut next = engine_at(
        2,
        json!([
            { "name": "new", "rateLimits": [{ "name": "r", "rate": "1/h", "burst": 9 }] },
            { "name": "p", "rateLimits": [{ "name": "other", "rate": "1/h", "burst": 9 }, { "name": "r", "rate": "1/h", "burst": 3 }] }
        ]),
    );
    assert_eq!(count(&mut next, &Described::default(), &mut store, SECOND, 9), 1, "one token was left");
}

#[test]
fn a_store_that_does_not_answer_lets_requests_pass_and_is_counted() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h" }, { "name": "k", "rate": "1/h", "key": [{ "header": "k" }] }],
          "circuitBreakers": [{ "name": "b", "window": "10s", "minRequests": 1, "trip": { "errorRatio": "50%" }, "openFor": "1s", "probes": 1 }] }
    ]));
    store.failures.set(1_000);
    for _ in 0..5 {
        let admission = admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap();
        engine.complete(admission, Outcome { reset: true, ..Outcome::default() }, &mut store, SECOND);
    }
    assert_eq!(engine.store_failures(), 15, "three rules, five requests");
    store.failures.set(0);
    assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND, 5), 1, "it answers again");
    assert_eq!(engine.store_failures(), 15);
}

#[test]
fn a_store_that_goes_on_conflicting_is_given_up() {
    let mut store = Shared::default();
    let mut engine = engine(limit("1/h", 1));
    store.conflicts.set(u32::MAX);
    assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND, 3), 3);
    assert_eq!(engine.store_failures(), 3);
    assert!(store.operations.get() < 3 * 200, "{} operations", store.operations.get());
    store.conflicts.set(20);
    assert_eq!(
        count(&mut engine, &Described::default(), &mut store, SECOND, 3),
        1,
        "a few conflicts do no harm"
    );
}

#[test]
fn on_failure_says_what_a_silent_store_means() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "100/s", "onFailure": "deny" }] }
    ]));
    store.failures.set(1);
    let decision = engine.decide(&Described::default(), &mut store, SECOND);
    assert_eq!(rejected(&decision.verdict).as_deref(), Some("rate-limit/p/r after 1"));
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND));
}
