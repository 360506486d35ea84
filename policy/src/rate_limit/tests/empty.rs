//! Buckets that were found empty: refused without asking the store, and no longer than they are empty.

use serde_json::json;

use crate::store::Memory;
use crate::testing::*;

fn asked(store: &Shared) -> u32 {
    store.operations.get()
}

#[test]
fn an_empty_bucket_is_not_looked_at_until_a_token_has_flowed_in() {
    let (mut store, request) = (Shared::default(), Described::default());
    let mut engine = engine(limit("100/s", 2));
    assert_eq!(count(&mut engine, &request, &mut store, SECOND, 3), 2);
    let before = asked(&store);
    assert_eq!(count(&mut engine, &request, &mut store, SECOND + 10 * MS - 1, 50), 0);
    assert_eq!(asked(&store), before);
    assert_eq!(count(&mut engine, &request, &mut store, SECOND + 10 * MS, 50), 1, "one in ten milliseconds");
}

#[test]
fn each_key_is_remembered_alone() {
    let mut store = Shared::default();
    let mut engine = engine(json!([{ "name": "p", "rateLimits": [
        { "name": "r", "rate": "1/m", "burst": 1, "key": [{ "header": "k" }] }] }]));
    let keys: Vec<_> = (0..2_000).map(|key| Described::default().header("k", key.to_string())).collect();
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(count(&mut engine, key, &mut store, SECOND, 2), 1, "{number}");
    }
    // The worker remembers a thousand; of the others it asks, and is told the same.
    let before = asked(&store);
    assert!(keys.iter().all(|key| !passes(&mut engine, key, &mut store, SECOND + MS)));
    assert!((1..2_000).contains(&(asked(&store) - before)));
    assert!(passes(&mut engine, &Described::default().header("k", "new"), &mut store, SECOND + MS));
}

#[test]
fn a_smaller_cost_passes_where_a_greater_did_not() {
    let mut store = Shared::default();
    let mut engine = engine(json!([{ "name": "p", "rateLimits": [
        { "name": "r", "rate": "1/m", "burst": 9, "cost": { "header": "x-cost", "max": 9 } }] }]));
    let costs = |cost: u32| Described::default().header("x-cost", cost.to_string());
    for (cost, expected) in [(6, true), (4, false), (4, false), (3, true), (1, false)] {
        assert_eq!(passes(&mut engine, &costs(cost), &mut store, SECOND), expected, "{cost}");
    }
}

#[test]
fn what_another_worker_gives_or_edits_is_seen_when_the_moment_is_over() {
    let (mut store, request) = (Shared::default(), Described::default());
    let mut worker = engine(limit("1/h", 2));
    assert_eq!(count(&mut worker, &request, &mut store, SECOND, 3), 2);
    let mut edited = engine_at(2, limit("1000/s", 5_000));
    edited.tick(&mut store, SECOND + 10 * MS);
    assert!(passes(&mut edited, &request, &mut store, SECOND + 20 * MS), "the edit adds a token in each");
    assert!(!passes(&mut worker, &request, &mut store, SECOND + 50 * MS - 1));
    assert!(passes(&mut worker, &request, &mut store, SECOND + 50 * MS));
}

#[test]
fn a_clock_that_is_set_back_does_not_keep_it_empty() {
    let (mut store, request) = (Shared::default(), Described::default());
    let mut worker = engine(limit("1/h", 1));
    assert_eq!(count(&mut worker, &request, &mut store, 100 * SECOND, 2), 1);
    *store.memory.borrow_mut() = Memory::default();
    assert!(passes(&mut worker, &request, &mut store, 99 * SECOND), "as fresh as ever");
}

#[test]
fn clients_are_told_the_time_that_is_left() {
    let mut store = Shared::default();
    let mut engine = engine(json!([{ "name": "p", "rateLimits": [
        { "name": "r", "rate": "30/s", "burst": 1, "rateLimitHeaders": true },
        { "name": "slow", "rate": "1/s", "burst": 2, "rateLimitHeaders": true }] }]));
    let mut told = |now| {
        let request = Described::default();
        let decision = engine.decide(&request, &mut store, now);
        (rejected(&decision.verdict).is_some(), decision.limits.map(|limits| limits.rate_limit.to_owned()))
    };
    assert_eq!(told(SECOND), (false, Some(r#""r";r=0;t=1, "slow";r=1;t=1"#.to_owned())));
    let refused = told(SECOND);
    assert!(refused.0);
    assert_eq!(told(SECOND + MS), refused, "from memory, the same");
}
