//! How requests end, and who wants to know.

use serde_json::{Value, json};

use super::*;

fn breaker(trip: &Value, mode: &str) -> Value {
    json!([{ "name": "p", "circuitBreakers": [{ "name": "b", "window": "10s", "minRequests": 1, "trip": trip,
        "openFor": "1s", "probes": 1, "mode": mode }] }])
}

#[test]
fn outcomes_are_wanted_where_a_rule_learns_from_them() {
    let needs = |policies: Value| {
        let mut engine = engine(policies);
        let admission =
            admitted(engine.decide(&Described::default(), &mut Shared::default(), SECOND).verdict);
        assert_eq!(admission.unwrap().is_watched(), engine.needs().outcomes);
        engine.needs().outcomes
    };
    assert!(!needs(json!([])));
    assert!(!needs(limit("1/s", 1)));
    assert!(needs(breaker(&json!({ "errorCount": 1 }), "enforce")));
    assert!(needs(json!([{ "name": "p", "concurrency": [{ "name": "c", "max": 1 }] }])));
    assert!(needs(
        json!([{ "name": "p", "degrade": [{ "name": "d", "when": { "errors": "50%" }, "admit": "0%" }] }])
    ));
}

#[test]
fn where_no_latency_is_told_it_is_the_time_since_the_request_was_admitted() {
    for (took, passes_after) in [(499, true), (501, false)] {
        let mut engine = engine(breaker(&json!({ "slow": { "over": "500ms", "ratio": "50%" } }), "enforce"));
        let mut store = Shared::default();
        let admission =
            admitted(engine.decide(&Described::default(), &mut store, 10 * SECOND).verdict).unwrap();
        let end = 10 * SECOND + took * MS;
        engine.complete(admission, Outcome { status: Some(200), ..Outcome::default() }, &mut store, end);
        engine.tick(&mut store, end + 50 * MS);
        assert_eq!(
            passes(&mut engine, &Described::default(), &mut store, end + 60 * MS),
            passes_after,
            "{took} ms"
        );
    }
}

#[test]
fn only_a_breaker_that_enforces_has_its_probes_sent_without_retries() {
    for (mode, enforces) in [("enforce", true), ("shadow", false)] {
        let (mut engine, mut store) = (engine(breaker(&json!({ "errorCount": 1 }), mode)), Shared::default());
        let mut decide = |engine: &mut Engine, now| {
            admitted(engine.decide(&Described::default(), &mut store, now).verdict).unwrap()
        };
        let first = decide(&mut engine, SECOND);
        assert!(!engine.enforces_probe(&first), "closed");
        engine.complete(first, Outcome { reset: true, ..Outcome::default() }, &mut store, SECOND);
        engine.tick(&mut store, SECOND + 50 * MS);
        let probe = admitted(engine.decide(&Described::default(), &mut store, 3 * SECOND).verdict).unwrap();
        assert!(probe.is_probe());
        assert_eq!(engine.enforces_probe(&probe), enforces, "{mode}");
    }
}

#[test]
fn what_fails_is_given_up_where_answers_say_so() {
    let mut engine = engine(json!([
        { "name": "p", "degrade": [{ "name": "d", "when": { "errors": "50%" }, "admit": "0%" }] }
    ]));
    let mut store = Shared::default();
    let mut last = None;
    for tenth in 10..50 {
        let now = tenth * 100 * MS;
        let decision = engine.decide(&Described::default(), &mut store, now);
        last = rejected(&decision.verdict);
        let Verdict::Admit(admission) = decision.verdict else { break };
        engine.complete(admission, Outcome { status: Some(503), ..Outcome::default() }, &mut store, now);
    }
    assert_eq!(last.as_deref(), Some("degrade/p/d after 1"));
}

#[test]
fn a_vm_that_goes_on_ticking_keeps_its_place_in_flight() {
    let mut engine = engine(json!([{ "name": "p", "concurrency": [{ "name": "c", "max": 1 }] }]));
    let mut store = Shared::default();
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND));
    let mut other = engine_at(1, json!([{ "name": "p", "concurrency": [{ "name": "c", "max": 1 }] }]));
    for tenth in 10..600 {
        engine.tick(&mut store, tenth * 100 * MS);
        other.tick(&mut store, tenth * 100 * MS);
        assert!(!passes(&mut other, &Described::default(), &mut store, tenth * 100 * MS));
    }
}

#[test]
fn an_engine_says_of_which_configuration_it_is() {
    for announces_key in [false, true] {
        let traced = !announces_key;
        let configuration = Configuration { revision: 7, announces_key, traced, policies: Vec::new() };
        let engine = Engine::new(configuration).unwrap();
        let said = (engine.revision(), engine.announces_key(), engine.is_traced());
        assert_eq!(said, (7, announces_key, traced));
    }
}

/// Fills a limit that finds itself, a window after the other, and ends all with this status; how many were in flight at the end.
fn found(status: u16) -> usize {
    let mut engine = engine(
        json!([{ "name": "p", "concurrency": [{ "name": "c", "adaptive": { "min": 5, "max": 100 } }] }]),
    );
    let mut store = Shared::default();
    let mut most = 0;
    for window in 4..20 {
        let now = window * 250 * MS;
        let decide = |engine: &mut Engine, store: &mut Shared| {
            admitted(engine.decide(&Described::default(), store, now).verdict)
        };
        for _ in 0..3 {
            let admissions: Vec<_> = std::iter::from_fn(|| decide(&mut engine, &mut store)).collect();
            most = admissions.len();
            for admission in admissions {
                let outcome = Outcome { status: Some(status), latency: Some(MS), ..Outcome::default() };
                engine.complete(admission, outcome, &mut store, now + MS);
            }
        }
        engine.tick(&mut store, now + 100 * MS);
    }
    most
}

#[test]
fn answers_that_are_no_failures_find_an_adaptive_limit() {
    assert_eq!(found(500), 5, "how fast something fails says nothing");
    assert!(found(200) > 10, "{}", found(200));
}

#[test]
fn what_a_worker_without_requests_has_seen_is_told_with_a_tick() {
    let policies =
        || json!([{ "name": "p", "degrade": [{ "name": "d", "when": { "errors": "50%" }, "admit": "0%" }] }]);
    let (mut one, mut other, mut store) = (engine(policies()), engine(policies()), Shared::default());
    let now = 10 * SECOND;
    for _ in 0..30 {
        let admission = admitted(one.decide(&Described::default(), &mut store, now).verdict).unwrap();
        let failed = Outcome { status: Some(500), ..Outcome::default() };
        one.complete(admission, failed, &mut store, now + MS);
    }
    assert!(passes(&mut other, &Described::default(), &mut store, now + 10 * MS));
    one.tick(&mut store, now + 100 * MS);
    assert!(!passes(&mut other, &Described::default(), &mut store, now + 110 * MS));
}
