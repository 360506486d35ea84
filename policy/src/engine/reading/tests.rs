use serde_json::{Value, json};

use super::*;
use crate::decision::Outcome;
use crate::testing::*;

const FAILED: Outcome =
    Outcome { status: Some(503), grpc_status: None, reset: false, client_gone: false, latency: None };

fn policies() -> Value {
    json!([{ "name": "p",
        "circuitBreakers": [{ "name": "b", "key": ["backend"], "window": "10s", "minRequests": 2,
            "trip": { "errorRatio": "50%" }, "openFor": "1s", "probes": 1 }],
        "concurrency": [{ "name": "c", "key": ["backend"], "max": 10 }] }])
}

/// What is shown once the workers have told each other: open, half-open; in flight, limit, saturation.
fn shown(workers: &mut [&mut Engine], store: &mut Shared, now: u64) -> (Option<[u32; 2]>, Option<[u32; 3]>) {
    let mut found = (None, None);
    for time in [now, now + PACE] {
        for engine in &mut *workers {
            engine.tick(store, time);
            engine.measure(store, time, |reading| match reading {
                Reading::Breakers { policy: "p", rule: "b", open, half_open } => {
                    found.0 = Some([open, half_open]);
                }
                Reading::Concurrency { policy: "p", rule: "c", in_flight, limit, saturation } => {
                    found.1 = Some([in_flight, limit, saturation]);
                }
                other => panic!("{other:?}"),
            });
        }
    }
    found
}

fn fail(engine: &mut Engine, backend: &str, store: &mut Shared, now: u64) {
    let request = Described::backend(backend);
    for _ in 0..2 {
        let admission = admitted(engine.decide(&request, store, now).verdict).unwrap();
        engine.complete(admission, FAILED, store, now);
    }
    engine.retire(store, now);
}

#[test]
fn a_breaker_is_counted_by_whoever_changed_it() {
    let mut store = Shared::default();
    let (mut one, mut other) = (engine(policies()), engine(policies()));
    assert_eq!(shown(&mut [&mut one], &mut store, SECOND).0, Some([0, 0]));
    for backend in ["x", "y", "z"] {
        fail(&mut one, backend, &mut store, 2 * SECOND);
    }
    assert_eq!(shown(&mut [&mut one, &mut other], &mut store, 2 * SECOND).0, Some([3, 0]));
    // The other one probes: one comes back, one is on its way, one is still ill.
    let now = 4 * SECOND;
    let mut probe = |backend: &str, store: &mut Shared| {
        admitted(other.decide(&Described::backend(backend), store, now).verdict).unwrap()
    };
    let [x, y, z] = ["x", "y", "z"].map(|backend| probe(backend, &mut store));
    other.complete(x, Outcome { status: Some(200), ..FAILED }, &mut store, now);
    other.complete(y, FAILED, &mut store, now);
    assert_eq!(shown(&mut [&mut one, &mut other], &mut store, now).0, Some([1, 1]));
    other.complete(z, Outcome { status: Some(200), ..FAILED }, &mut store, now);
    assert_eq!(shown(&mut [&mut other, &mut one], &mut store, now).0, Some([1, 0]));
}

#[test]
fn what_a_lost_vm_did_not_tell_is_found_all_the_same() {
    let mut store = Shared::default();
    let (mut one, mut other) = (engine(policies()), engine(policies()));
    let failed = |engine: &mut Engine, backend: &str, store: &mut Shared, now: u64| {
        let held =
            [(), ()].map(|()| admitted(engine.decide(&Described::backend(backend), store, now).verdict));
        for (admission, later) in held.into_iter().flatten().zip([0, 10 * MS]) {
            engine.complete(admission, FAILED, store, now + later);
        }
    };
    fail(&mut other, "z", &mut store, SECOND);
    failed(&mut one, "x", &mut store, SECOND);
    assert_eq!(one.take_transitions().len(), 1, "it is open");
    drop(one);
    let found = |engine: &mut Engine, store: &mut Shared, from: u64| {
        for step in 0..300 {
            shown(&mut [engine], store, from + step * PACE);
        }
        shown(&mut [engine], store, from + 300 * PACE).0
    };
    assert_eq!(found(&mut other, &mut store, 2 * SECOND), Some([2, 0]));
    // So is what it did not tell of the end.
    let mut one = engine(policies());
    let now = 200 * SECOND;
    for backend in ["x", "z"] {
        let probe = admitted(one.decide(&Described::backend(backend), &mut store, now).verdict).unwrap();
        one.complete(probe, Outcome { status: Some(200), ..FAILED }, &mut store, now);
    }
    drop(one);
    assert_eq!(shown(&mut [&mut other], &mut store, now).0, Some([0, 0]));
}

#[test]
fn breakers_of_a_rule_that_gets_or_loses_its_key_are_others() {
    let mut store = Shared::default();
    let mut keyed = engine(policies());
    for backend in ["x", "y"] {
        fail(&mut keyed, backend, &mut store, SECOND);
    }
    assert_eq!(shown(&mut [&mut keyed], &mut store, SECOND).0, Some([2, 0]));
    let mut policies = policies();
    policies[0]["circuitBreakers"][0].as_object_mut().unwrap().remove("key");
    let mut keyless = engine_at(2, policies);
    assert_eq!(shown(&mut [&mut keyless], &mut store, 2 * SECOND).0, Some([0, 0]));
    fail(&mut keyless, "x", &mut store, 2 * SECOND);
    assert_eq!(shown(&mut [&mut keyless], &mut store, 2 * SECOND).0, Some([1, 0]));
    assert_eq!(shown(&mut [&mut keyed], &mut store, 3 * SECOND).0, Some([2, 0]));
}

#[test]
fn breakers_of_a_rule_that_comes_back_while_its_state_is_forgotten_are_those_that_are_left() {
    let backends = ["a", "b", "c", "d", "e", "f"];
    let mut seen = Vec::new();
    for ticks in 0..24 {
        let (mut store, mut first) = (Shared::default(), engine(policies()));
        for backend in backends {
            fail(&mut first, backend, &mut store, SECOND);
        }
        let mut without = engine_at(2, json!([]));
        without.join(&first);
        drop(first);
        without.tick(&mut store, 2 * SECOND);
        for tick in 0..ticks {
            without.tick(&mut store, 12 * SECOND + tick * 50 * MS);
        }
        let mut back = engine_at(3, policies());
        back.join(&without);
        drop(without);
        // The marks may have been forgotten before the breakers.
        for step in 0..300 {
            shown(&mut [&mut back], &mut store, 14 * SECOND + step * PACE);
        }
        // A breaker that is left asks for a probe by now.
        let (now, mut open) = (200 * SECOND, 0);
        let counted = shown(&mut [&mut back], &mut store, now).0;
        for backend in backends {
            let request = Described::backend(backend);
            open += u32::from(admitted(back.decide(&request, &mut store, now).verdict).unwrap().is_probe());
        }
        assert_eq!(counted, Some([open, 0]), "after {ticks} ticks");
        seen.push(open);
    }
    seen.dedup();
    assert!(seen.len() > 2 && seen.first() == Some(&6) && seen.last() == Some(&0), "{seen:?}");
}

#[test]
fn what_stays_in_flight_stays_in_use_where_there_is_one_limit() {
    let mut policies = policies();
    policies[0]["concurrency"][0].as_object_mut().unwrap().remove("key");
    let (mut store, mut engine) = (Shared::default(), engine(policies));
    let request = Described::default();
    let held: Vec<_> =
        (0..10).map(|_| admitted(engine.decide(&request, &mut store, SECOND).verdict).unwrap()).collect();
    for seconds in [1, 60] {
        assert_eq!(shown(&mut [&mut engine], &mut store, seconds * SECOND).1, Some([10, 10, 100]));
    }
    for admission in held.into_iter().skip(4) {
        engine.complete(admission, Outcome::default(), &mut store, 61 * SECOND);
    }
    engine.tick(&mut store, 61 * SECOND);
    assert_eq!(shown(&mut [&mut engine], &mut store, 62 * SECOND).1, Some([4, 10, 40]));
}

#[test]
fn what_is_in_flight_is_that_of_all_vms_that_are_alive() {
    let mut store = Shared::default();
    let (mut one, mut other) = (engine(policies()), engine(policies()));
    let enter = |engine: &mut Engine, backend: &str, store: &mut Shared| {
        admitted(engine.decide(&Described::backend(backend), store, SECOND).verdict).unwrap()
    };
    let (mut held, lost): (Vec<_>, Vec<_>) = (
        ["x", "x", "y"].map(|backend| enter(&mut one, backend, &mut store)).into(),
        ["x", "z"].map(|backend| enter(&mut other, backend, &mut store)).into(),
    );
    assert_eq!(shown(&mut [&mut one, &mut other], &mut store, SECOND).1, Some([5, 10, 30]));
    let gone = Outcome { client_gone: true, ..Outcome::default() };
    one.complete(held.pop().unwrap(), gone, &mut store, 2 * SECOND);
    assert_eq!(shown(&mut [&mut one, &mut other], &mut store, 2 * SECOND).1, Some([4, 10, 30]));

    // The other's VM breaks down.
    drop((other, lost));
    for beat in 0..12 {
        one.tick(&mut store, 3 * SECOND + beat * 500 * MS);
    }
    assert_eq!(shown(&mut [&mut one], &mut store, 9 * SECOND).1, Some([2, 10, 30]));
    assert_eq!(shown(&mut [&mut one], &mut store, 20 * SECOND).1, Some([2, 10, 0]), "nothing came lately");
}

#[test]
fn a_vm_that_only_stalled_is_counted_again() {
    let mut store = Shared::default();
    let (mut stalled, mut other) = (engine(policies()), engine(policies()));
    let request = Described::backend("x");
    let held = [(), ()].map(|()| admitted(stalled.decide(&request, &mut store, SECOND).verdict).unwrap());
    assert_eq!(shown(&mut [&mut stalled, &mut other], &mut store, SECOND).1, Some([2, 10, 20]));
    for beat in 0..12 {
        other.tick(&mut store, 2 * SECOND + beat * 500 * MS);
    }
    assert_eq!(shown(&mut [&mut other], &mut store, 8 * SECOND).1, Some([0, 10, 20]));
    assert_eq!(shown(&mut [&mut stalled, &mut other], &mut store, 9 * SECOND).1, Some([2, 10, 20]));
    for admission in held {
        stalled.complete(admission, Outcome::default(), &mut store, 20 * SECOND);
    }
    assert_eq!(shown(&mut [&mut stalled, &mut other], &mut store, 20 * SECOND).1, Some([0, 10, 0]));
}

#[test]
fn engines_of_one_vm_are_counted_together_and_one_that_goes_takes_its_own() {
    let mut store = Shared::default();
    let mut old = engine(policies());
    let mut new = engine_at(2, policies());
    new.join(&old);
    let request = Described::backend("x");
    let first = admitted(old.decide(&request, &mut store, SECOND).verdict).unwrap();
    let _second = admitted(new.decide(&request, &mut store, SECOND).verdict).unwrap();
    assert_eq!(shown(&mut [&mut old, &mut new], &mut store, SECOND).1, Some([2, 10, 20]));
    old.complete(first, Outcome::default(), &mut store, 2 * SECOND);
    old.retire(&mut store, 2 * SECOND);
    drop(old);
    assert_eq!(shown(&mut [&mut new], &mut store, 2 * SECOND).1, Some([1, 10, 20]));
}

#[test]
fn an_adaptive_limit_shows_what_was_found_within_its_bounds() {
    let policies = |max: u32| json!([{ "name": "p", "concurrency": [{ "name": "c", "adaptive": { "min": 4, "max": max } }] }]);
    let mut store = Shared::default();
    let mut engine = engine(policies(8));
    assert_eq!(shown(&mut [&mut engine], &mut store, SECOND).1, Some([0, 4, 0]), "where it begins");
    let mut now = 2 * SECOND;
    for _ in 0..300 {
        let held: Vec<_> = (0..4)
            .filter_map(|_| admitted(engine.decide(&Described::default(), &mut store, now).verdict))
            .collect();
        now += 10 * MS;
        for admission in held {
            engine.complete(admission, Outcome { status: Some(200), ..FAILED }, &mut store, now);
        }
        engine.measure(&mut store, now, |_| {});
    }
    let (_, Some([_, found, _])) = shown(&mut [&mut engine], &mut store, now) else { panic!("shown") };
    assert!((5..=8).contains(&found), "{found}");
    let mut narrower = engine_at(2, policies(5));
    assert_eq!(shown(&mut [&mut narrower], &mut store, now).1.map(|shown| shown[1]), Some(5));
}

#[test]
fn an_adaptive_limit_that_is_halved_to_look_for_its_base_is_shown_whole() {
    let policies =
        json!([{ "name": "p", "concurrency": [{ "name": "c", "adaptive": { "min": 4, "max": 40 } }] }]);
    let mut degrading = policies.clone();
    degrading[0]["degrade"] = json!([{ "name": "d", "when": { "saturation": "90%" }, "admit": "0%" }]);
    let (mut store, mut engine) = (Shared::default(), engine(policies));
    let (mut now, mut found, mut was_halved) = (SECOND, Vec::new(), false);
    for step in 0..3_000_u64 {
        // Until the limit has grown, all there is; then six tenths.
        if step == 500 {
            engine.retire(&mut store, now);
            engine = engine_at(2, degrading.clone());
        }
        let wanted = if step < 500 { 40 } else { 24 };
        let mut held = Vec::new();
        while held.len() < wanted
            && let Some(admission) = admitted(engine.decide(&Described::default(), &mut store, now).verdict)
        {
            held.push(admission);
        }
        was_halved |= step > 1_600 && held.len() < wanted;
        now += 10 * MS;
        for admission in held {
            engine.complete(admission, Outcome { status: Some(200), ..FAILED }, &mut store, now);
        }
        engine.tick(&mut store, now);
        engine.measure(&mut store, now, |reading| match reading {
            Reading::Concurrency { limit, saturation, .. } if step > 1_600 => found.push((limit, saturation)),
            Reading::Degrade { in_force, .. } => assert!(!in_force, "at {step}"),
            _ => {}
        });
    }
    assert!(was_halved);
    found.sort_unstable();
    found.dedup();
    assert_eq!(found, [(40, 60)]);
}

#[test]
fn rules_take_their_turns() {
    let rules: Vec<_> = (0..50).map(|number| json!({ "name": format!("c{number}"), "max": 1 })).collect();
    let policies: Vec<_> = (0..5)
        .map(|number| {
            json!({ "name": format!("p{number}"), "concurrency": rules,
                "circuitBreakers": [{ "name": "b", "window": "10s", "minRequests": 2,
                    "trip": { "errorRatio": "50%" }, "openFor": "1s", "probes": 1 }],
                "degrade": [{ "name": "d", "when": { "saturation": "50%" }, "admit": "50%" }] })
        })
        .collect();
    let (mut store, mut engine) = (Shared::default(), engine(json!(policies)));
    let mut rounds = Vec::new();
    for call in 0..20 {
        let mut names = Vec::new();
        engine.measure(&mut store, SECOND + call * 50 * MS, |reading| names.push(format!("{reading:?}")));
        rounds.push(names);
    }
    let counts: Vec<_> = rounds.iter().map(Vec::len).collect();
    assert_eq!(counts[..10], [64, 64, 64, 64, 4, 0, 0, 0, 0, 0]);
    assert_eq!(counts[10..], counts[..10], "again half a second later");
    let mut all = rounds[..5].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 260, "each rule once");
}

#[test]
fn what_the_store_does_not_answer_is_not_shown_and_not_lost() {
    let mut store = Shared::default();
    let mut engine = engine(policies());
    let request = Described::backend("x");
    let _held = admitted(engine.decide(&request, &mut store, SECOND).verdict).unwrap();
    let failures = engine.store_failures();
    store.fail(0, u32::MAX);
    engine.measure(&mut store, SECOND, |reading| panic!("{reading:?}"));
    assert_eq!(engine.store_failures(), failures, "nothing was decided without it");
    store.fail(0, 0);
    assert_eq!(shown(&mut [&mut engine], &mut store, 2 * SECOND).1, Some([1, 10, 10]));
    store.conflicts.set(3);
    assert_eq!(shown(&mut [&mut engine], &mut store, 3 * SECOND).1, Some([1, 10, 10]));
}
