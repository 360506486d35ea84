//! A decision that fails half-way gives back what it has taken.

use serde_json::{Value, json};

use super::*;

const THEN: u64 = 3 * SECOND;

/// Two of each kind that a request takes something of, which is one place, one probe and the second of two tokens. None lets a request pass without its answer.
fn full() -> Value {
    let breaker = |name: &str| {
        json!({ "name": name, "window": "10s", "minRequests": 1, "trip": { "errorRatio": "50%" },
            "openFor": "1s", "probes": 1, "onFailure": "deny" })
    };
    let limit = |name: &str| json!({ "name": name, "rate": "1/h", "burst": 2, "rateLimitHeaders": true, "onFailure": "deny" });
    let bulkhead = |name: &str| json!({ "name": name, "max": 1, "onFailure": "deny" });
    json!([{ "name": "p", "rateLimits": [limit("a"), limit("b")], "concurrency": [bulkhead("a"), bulkhead("b")],
        "circuitBreakers": [breaker("a"), breaker("b")] }])
}

/// An engine whose breakers are half-open at [`THEN`].
fn half_open() -> (Engine, Shared) {
    let (mut engine, mut store) = (engine(full()), Shared::default());
    let first = admitted(engine.decide(&Described::default(), &mut store, SECOND).verdict).unwrap();
    engine.complete(first, Outcome { reset: true, ..Outcome::default() }, &mut store, SECOND);
    engine.tick(&mut store, SECOND + 50 * MS);
    (engine, store)
}

#[test]
fn wherever_the_store_falls_silent_a_denied_request_keeps_nothing() {
    let mut denied = Vec::new();
    for answers in 0.. {
        let (mut engine, mut store) = half_open();
        store.fail(answers, 1);
        let decision = engine.decide(&Described::default(), &mut store, THEN);
        let Some(reject) = rejected(&decision.verdict) else { break };
        store.fail(0, 0);
        assert_eq!(engine.store_failures(), 1, "{reject}");
        let decision = engine.decide(&Described::default(), &mut store, THEN);
        assert_eq!(rejected(&decision.verdict), None, "after {answers} answers: {reject}");
        assert!(!passes(&mut engine, &Described::default(), &mut store, THEN), "there was one of each");
        denied.push(reject);
    }
    for rule in ["circuit-breaker/p/a", "concurrency/p/b", "rate-limit/p/b", "circuit-breaker/p/b"] {
        assert!(denied.iter().any(|reject| reject.starts_with(rule)), "{rule} in {denied:?}");
    }
}

#[test]
fn what_can_t_be_given_back_is_counted_as_a_failure_of_the_store() {
    let mut counted = Vec::new();
    for answers in 0.. {
        let (mut engine, mut store) = half_open();
        store.fail(answers, u32::MAX);
        if passes(&mut engine, &Described::default(), &mut store, THEN) {
            break;
        }
        counted.push(engine.store_failures());
    }
    assert_eq!(
        counted.last(),
        Some(&6),
        "the last ticket, and to give back: the first, two places, two tokens"
    );
    assert_eq!(counted.first(), Some(&2), "neither breaker's state is known");
}

#[test]
fn an_end_that_the_store_does_not_hear_is_counted() {
    let (mut engine, mut store) = half_open();
    let probe = admitted(engine.decide(&Described::default(), &mut store, THEN).verdict).unwrap();
    store.fail(0, u32::MAX);
    engine.complete(probe, Outcome { status: Some(200), ..Outcome::default() }, &mut store, THEN);
    assert_eq!(engine.store_failures(), 4, "two probes and two places");
    store.fail(0, 0);
    engine.tick(&mut store, THEN + 50 * MS);
    let held = admitted(engine.decide(&Described::default(), &mut store, THEN + FOREVER).verdict);
    assert!(held.is_some(), "the places have been given back later, the tickets expired");
}

#[test]
fn degrading_asks_the_store_now_and_then_and_counts_when_it_is_silent() {
    let mut engine = engine(json!([
        { "name": "p", "degrade": [{ "name": "d", "when": { "errors": "50%" }, "admit": "0%" }] }
    ]));
    let mut store = Shared::default();
    store.fail(0, 2);
    let mut failures = |now: u64| {
        assert!(passes(&mut engine, &Described::default(), &mut store, now));
        (engine.store_failures(), store.operations.get())
    };
    assert_eq!(failures(SECOND), (1, 1));
    assert_eq!(failures(SECOND), (1, 1), "it was asked this moment");
    assert_eq!(failures(2 * SECOND), (2, 2));
    assert_eq!(failures(3 * SECOND).0, 2, "it answers again");
}
