mod edits;
mod empty;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, FakeRelativeClock};
use proptest::prelude::*;
use serde_json::json;

use crate::engine::Engine;
use crate::store::Memory;
use crate::testing::interleaving::interleave;
use crate::testing::*;

#[test]
fn workers_share_one_bucket() {
    let mut store = Shared::default();
    let mut workers: Vec<Engine> = (0..4).map(|_| engine(limit("1/h", 10))).collect();
    let passed: usize =
        workers.iter_mut().map(|worker| count(worker, &Described::default(), &mut store, SECOND, 10)).sum();
    assert_eq!(passed, 10);
}

#[test]
fn a_high_rate_is_spent_from_leases_without_asking_the_store() {
    let mut store = Shared::default();
    let mut engine = engine(limit("20000/s", 20_000));
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND));
    let asked = store.operations.get();
    assert_eq!(count(&mut engine, &Described::default(), &mut store, SECOND + MS, 99), 99);
    assert_eq!(store.operations.get(), asked, "a lease is 100 tokens");
    assert!(passes(&mut engine, &Described::default(), &mut store, SECOND + MS));
    assert!(store.operations.get() > asked);
}

#[test]
fn what_is_left_of_a_lease_goes_back() {
    let left_after = |give_back: &dyn Fn(&mut Engine, &mut Shared)| {
        let mut store = Shared::default();
        let mut idle = engine(limit("20000/s", 20_000));
        assert!(passes(&mut idle, &Described::default(), &mut store, SECOND));
        give_back(&mut idle, &mut store);
        count(&mut engine(limit("20000/s", 20_000)), &Described::default(), &mut store, SECOND, 30_000)
    };
    assert_eq!(left_after(&|_, _| {}), 19_900, "leased tokens are the other worker's");
    assert_eq!(
        left_after(&|idle, store| idle.tick(store, SECOND + 9 * MS)),
        19_900,
        "the lease is still good"
    );
    assert_eq!(left_after(&|idle, store| idle.retire(store, SECOND)), 19_999);
    assert_eq!(left_after(&|idle, store| idle.tick(store, SECOND + 10 * MS)), 20_000, "refilled by then");
}

#[test]
fn a_lease_that_went_back_is_spent_only_once() {
    let mut store = Shared::default();
    let mut idle = engine(limit("20000/s", 20_000));
    assert!(passes(&mut idle, &Described::default(), &mut store, SECOND));
    idle.retire(&mut store, SECOND);
    let mut other = engine(limit("20000/s", 20_000));
    assert_eq!(count(&mut other, &Described::default(), &mut store, SECOND, 30_000), 19_999);
    assert_eq!(count(&mut idle, &Described::default(), &mut store, SECOND, 30_000), 0);
    other.retire(&mut store, SECOND);
    assert_eq!(count(&mut idle, &Described::default(), &mut store, SECOND, 30_000), 0);
}

#[test]
fn an_expired_lease_is_put_back_before_anything_is_refused() {
    let mut store = Shared::default();
    let mut idle = engine(limit("1000/h", 1_000));
    let mut fast = engine_at(2, limit("2000/s", 1_000));
    assert!(passes(&mut fast, &Described::default(), &mut store, SECOND), "takes a lease of ten");
    let mut other = engine_at(3, limit("1/h", 1_000));
    assert_eq!(count(&mut other, &Described::default(), &mut store, SECOND, 2_000), 990);
    assert!(!passes(&mut idle, &Described::default(), &mut store, SECOND + 20 * MS));
    assert_eq!(count(&mut fast, &Described::default(), &mut store, SECOND + 20 * MS, 20), 9, "its own nine");
}

#[test]
fn a_store_that_fails_does_not_lose_the_lease() {
    let mut store = Shared::default();
    let mut idle = engine(limit("20000/s", 20_000));
    assert!(passes(&mut idle, &Described::default(), &mut store, SECOND));
    store.failures.set(1);
    idle.retire(&mut store, SECOND);
    assert_eq!(idle.store_failures(), 1);
    idle.retire(&mut store, SECOND);
    assert_eq!(
        count(&mut engine(limit("20000/s", 20_000)), &Described::default(), &mut store, SECOND, 30_000),
        19_999
    );
}

#[test]
fn overload_admits_the_rate_within_one_percent() {
    for rate in [100_u64, 1_000, 20_000] {
        let mut store = Shared::default();
        let policy = limit(&format!("{rate}/s"), u32::try_from(rate).unwrap());
        let mut workers = [engine(policy.clone()), engine(policy)];
        // Ten seconds at one and a half times the rate, spread over two workers.
        let gap = SECOND * 2 / (3 * rate);
        let (mut passed, mut now) = (0_u64, SECOND);
        let mut arrivals = 0_usize;
        while now < 11 * SECOND {
            let worker = &mut workers[arrivals % 2];
            passed += u64::from(passes(worker, &Described::default(), &mut store, now));
            arrivals += 1;
            now += gap;
        }
        let exact = rate + 10 * rate;
        assert!(passed <= exact && passed * 100 >= exact * 99, "{rate}/s: {passed} of {exact}");
    }
}

#[test]
fn keys_without_number_need_no_more_memory_than_the_table_has() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h", "burst": 2, "key": [{ "header": "k" }] }] }
    ]));
    let mut request = Described::default();
    let limited = Described::default().header("k", "limited");
    assert_eq!(count(&mut engine, &limited, &mut store, SECOND, 3), 2);
    // Three times as many as there are places.
    for key in 0..200_000_u32 {
        request.headers.insert("k".into(), key.to_le_bytes().into());
        request.asked.borrow_mut().clear();
        passes(&mut engine, &request, &mut store, SECOND);
        if key % 1_000 == 0 {
            assert!(!passes(&mut engine, &limited, &mut store, SECOND), "still limited after {key} others");
        }
    }
    let memory = store.memory.borrow();
    assert_eq!(memory.len(), 8_192 + 1, "every record and the seed");
    assert!(memory.bytes() < 2 << 20, "{} bytes", memory.bytes());
}

#[test]
fn a_key_over_256_bytes_has_a_bucket_of_its_own() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h", "burst": 1, "key": [{ "header": "k" }] }] }
    ]));
    let long = |last: &str| Described::default().header("k", "x".repeat(5_000) + last);
    assert!(passes(&mut engine, &long("a"), &mut store, SECOND));
    assert!(passes(&mut engine, &long("b"), &mut store, SECOND));
    assert!(!passes(&mut engine, &long("a"), &mut store, SECOND));
}

#[test]
fn a_key_that_comes_often_takes_leases_and_one_that_does_not_takes_none() {
    let mut store = Shared::default();
    let mut worker = engine(by_key("20000/s", 20_000));
    let (hot, cold) = (Described::default().header("k", "hot"), Described::default().header("k", "cold"));
    for _ in 0..2 {
        assert!(passes(&mut worker, &hot, &mut store, SECOND));
    }
    let asked = store.operations.get();
    assert_eq!(count(&mut worker, &hot, &mut store, SECOND + MS, 99), 99);
    assert_eq!(store.operations.get(), asked, "a lease is 100 tokens");
    assert!(passes(&mut worker, &cold, &mut store, SECOND));
    worker.tick(&mut store, SECOND + 5 * MS);
    let mut other = engine(by_key("20000/s", 20_000));
    assert_eq!(count(&mut other, &cold, &mut store, SECOND, 30_000), 19_999, "nothing is held back");
    assert_eq!(count(&mut other, &hot, &mut store, SECOND, 30_000), 20_000 - 101);
    worker.tick(&mut store, SECOND + 20 * MS);
    assert_eq!(count(&mut worker, &cold, &mut store, SECOND + 30 * MS, 30_000), 600, "30 ms of the rate");
}

#[test]
fn what_is_left_of_a_key_s_lease_goes_back() {
    let mut store = Shared::default();
    let mut worker = engine(by_key("20000/s", 20_000));
    let request = Described::default().header("k", "a");
    assert_eq!(count(&mut worker, &request, &mut store, SECOND, 3), 3);
    worker.retire(&mut store, SECOND);
    assert_eq!(count(&mut engine(by_key("20000/s", 20_000)), &request, &mut store, SECOND, 30_000), 19_997);
}

#[test]
fn a_raise_from_one_an_hour_takes_effect_at_once_and_back() {
    for key in [json!([]), json!([{ "header": "k" }])] {
        let policy = |revision, rate: &str, burst: u32| {
            engine_at(
                revision,
                json!([{ "name": "p", "rateLimits": [{ "name": "r", "rate": rate, "burst": burst, "key": key }] }]),
            )
        };
        let (mut store, request) = (Shared::default(), Described::default().header("k", "a"));
        let mut slow = policy(1, "1/h", 1);
        assert_eq!(count(&mut slow, &request, &mut store, SECOND, 5), 1);
        let mut fast = policy(2, "1000000/s", 1_000_000);
        fast.tick(&mut store, 2 * SECOND);
        assert_eq!(
            count(&mut fast, &request, &mut store, 2 * SECOND + MS, 5_000),
            1_000,
            "a millisecond's worth"
        );
        fast.retire(&mut store, 2 * SECOND + MS);
        let mut again = policy(3, "1/h", 1);
        again.tick(&mut store, 3 * SECOND);
        assert_eq!(count(&mut again, &request, &mut store, 3 * SECOND, 5), 1, "what fits of what was left");
        assert_eq!(count(&mut again, &request, &mut store, 13 * SECOND, 5), 0);
    }
}

#[test]
fn a_thousand_keys_have_a_bucket_each() {
    let mut store = Shared::default();
    let mut engine = engine(json!([
        { "name": "p", "rateLimits": [{ "name": "r", "rate": "1/h", "burst": 1, "key": [{ "header": "k" }] }] }
    ]));
    for key in 0..1_000_u32 {
        let request = Described::default().header("k", key.to_le_bytes());
        assert!(passes(&mut engine, &request, &mut store, SECOND), "{key}");
    }
}

#[test]
fn a_key_that_comes_once_in_a_while_takes_no_lease() {
    let (mut store, request) = (Shared::default(), Described::default().header("k", "a"));
    let mut worker = engine(by_key("20000/s", 20_000));
    for now in [SECOND, SECOND + 20 * MS] {
        assert!(passes(&mut worker, &request, &mut store, now));
    }
    let mut other = engine(by_key("20000/s", 20_000));
    assert_eq!(count(&mut other, &request, &mut store, SECOND + 20 * MS, 30_000), 19_999);
}

#[test]
fn no_key_s_lease_makes_way_for_another_s() {
    let policy = json!([{ "name": "p", "rateLimits": [{ "name": "r", "rate": "400/s", "burst": 200,
        "key": [{ "header": "k" }], "cost": { "header": "x-cost", "max": 200 } }] }]);
    let key = |key: u32| Described::default().header("k", key.to_le_bytes());
    let (mut store, mut worker) = (Shared::default(), engine(policy.clone()));
    for number in 0..1_500 {
        assert_eq!(count(&mut worker, &key(number), &mut store, SECOND, 2), 2);
    }
    worker.retire(&mut store, SECOND);
    let mut other = engine(policy);
    for number in 0..1_500 {
        let rest = key(number).header("x-cost", "198");
        assert!(passes(&mut other, &rest, &mut store, SECOND), "{number}: all that was leased came back");
        assert!(!passes(&mut other, &key(number), &mut store, SECOND));
    }
}

#[test]
fn a_lease_from_before_the_clock_was_set_back_is_not_spent() {
    let (mut store, request) = (Shared::default(), Described::default());
    let mut engine = engine(limit("20000/s", 20_000));
    assert!(passes(&mut engine, &request, &mut store, 100 * SECOND));
    let asked = store.operations.get();
    assert!(passes(&mut engine, &request, &mut store, SECOND));
    assert!(store.operations.get() > asked);
}

#[test]
fn of_two_configurations_with_one_revision_the_later_counts() {
    let (mut store, request) = (Shared::default(), Described::default());
    let mut early = engine(limit("1/h", 1));
    assert_eq!(count(&mut early, &request, &mut store, SECOND, 9), 1);
    let mut late = engine(limit("5/s", 5));
    late.tick(&mut store, 2 * SECOND);
    assert_eq!(count(&mut late, &request, &mut store, 3 * SECOND, 9), 5);
    assert_eq!(count(&mut early, &request, &mut store, 4 * SECOND, 9), 5, "it follows the other");
}

/// One policy `p` with one limit `r` by the header `k`, whose requests cost what `x-cost` says; `own` has ten times as much.
fn by_key(rate: &str, burst: u32) -> serde_json::Value {
    json!([{ "name": "p", "rateLimits": [{ "name": "r", "rate": rate, "burst": burst, "key": [{ "header": "k" }],
        "cost": { "header": "x-cost", "max": burst.min(50) },
        "overrides": [{ "key": "own", "rate": "30000/s", "burst": 3_000 }] }] }])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Of each key, over any schedule of arrivals, costs, ticks and replaced engines on any number of workers: the tokens of what passes are at most the burst, what flows in, and a lease
    /// for each worker.
    #[test]
    fn no_key_gets_more_than_its_burst_its_rate_and_a_lease_for_each_worker(
        rate in prop::sample::select(vec![50_u64, 400, 3_000, 50_000]),
        burst in 200..3_000_u32,
        workers in 1..4_usize,
        steps in prop::collection::vec((0..3_usize, 0..100_u8, 0..4_000_u64, 0..4_usize, 1..60_u32, 1..80_usize), 1..100),
    ) {
        let policy = || engine(by_key(&format!("{rate}/s"), burst));
        let mut engines: Vec<Engine> = (0..workers).map(|_| policy()).collect();
        let (mut store, mut now) = (Shared::default(), SECOND);
        let mut history: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for (worker, action, gap, key, cost, requests) in steps {
            now += gap * 10_000;
            let engine = &mut engines[worker % workers];
            match action {
                0..10 => engine.tick(&mut store, now),
                10..15 => {
                    engine.retire(&mut store, now);
                    *engine = policy();
                }
                // Without a word: its leases are lost.
                15..18 => *engine = policy(),
                _ => {
                    let key = ["a", "b", "c", "own"][key];
                    let request = Described::default().header("k", key).header("x-cost", cost.to_string());
                    let passed = count(engine, &request, &mut store, now, requests);
                    let tokens = u64::from(cost.min(50).min(burst)) * passed as u64;
                    history.entry(key).or_default().push((now, tokens));
                }
            }
        }
        for (key, passed) in history {
            let (rate, burst) = if key == "own" { (30_000, 3_000) } else { (rate, u64::from(burst)) };
            let slack = (rate / 200).min(burst / 100) * workers as u64;
            for first in 0..passed.len() {
                let mut tokens = 0;
                for (then, count) in &passed[first..] {
                    tokens += count;
                    let inflow = rate * (then - passed[first].0);
                    prop_assert!(
                        tokens.saturating_sub(burst + slack) * SECOND <= inflow,
                        "{key}: {tokens} in {} ns", then - passed[first].0
                    );
                }
            }
        }
    }

    /// One bucket and one worker decide what governor decides, and name the same wait.
    #[test]
    fn a_single_bucket_is_governor_s(
        rate in prop::sample::select(vec![1_u64, 2, 5, 8, 10, 40, 100, 1_000, 20_000, 1_000_000]),
        burst in 1..150_u32,
        gaps in prop::collection::vec(0..3_000_u64, 1..300),
    ) {
        let clock = FakeRelativeClock::default();
        let quota = governor::Quota::with_period(Duration::from_nanos(SECOND / rate)).unwrap();
        let quota = quota.allow_burst(NonZeroU32::new(burst).unwrap());
        let reference = governor::RateLimiter::direct_with_clock(quota, clock.clone());
        let mut engine = engine(limit(&format!("{rate}/s"), burst));
        let (mut store, mut now) = (Shared::default(), 0);
        for gap in gaps {
            // In thousandths of the time that a token takes.
            let gap = gap * SECOND / rate / 1_000;
            clock.advance(Duration::from_nanos(gap));
            now += gap;
            let expected = reference.check().err().map(|not_until| {
                let wait = u64::try_from(not_until.wait_time_from(clock.now()).as_nanos()).unwrap();
                format!("rate-limit/p/r after {}", wait.div_ceil(SECOND).max(1))
            });
            prop_assert_eq!(rejected(&engine.decide(&Described::default(), &mut store, now).verdict), expected);
        }
    }

    /// Whatever the order in which workers' store operations happen, buckets give exactly what they hold, and requests take from both or from none.
    #[test]
    fn buckets_are_exact_under_any_interleaving(
        schedule in prop::collection::vec(any::<u8>(), 1..200),
        wide in 1..30_u32,
        narrow in 1..30_u32,
    ) {
        let policy = json!([{ "name": "p", "rateLimits": [
            { "name": "wide", "rate": "1/h", "burst": wide },
            { "name": "narrow", "rate": "1/h", "burst": narrow, "key": [{ "value": "all" }] }] }]);
        let work = |_, store: &mut interleaving::Scheduled| {
            let mut engine = engine(policy.clone());
            let passed = (0..8).filter(|_| admitted(engine.decide(&Described::default(), store, SECOND).verdict).is_some()).count();
            assert_eq!(engine.store_failures(), 0);
            passed
        };
        let (passed, memory) = interleave(Memory::default(), &schedule, 4, work);
        let passed = passed.iter().sum::<usize>();
        let least = wide.min(narrow) as usize;
        prop_assert_eq!(passed, least.min(4 * 8));

        // What is left in each bucket is what was not taken.
        let mut store = Shared::default();
        *store.memory.borrow_mut() = memory;
        for (rule, burst, key) in [("wide", wide, json!([])), ("narrow", narrow, json!([{ "value": "all" }]))] {
            let mut engine = engine(json!([{ "name": "p", "rateLimits": [{ "name": rule, "rate": "1/h", "burst": burst, "key": key }] }]));
            let left = count(&mut engine, &Described::default(), &mut store, SECOND, 100);
            prop_assert_eq!(left + passed, burst as usize, "{}", rule);
        }
    }
}

#[test]
fn a_full_bucket_is_waited_for_no_longer() {
    use super::{Level, Quota, Standing};
    let quota = Quota::new("1/s".parse().unwrap(), std::num::NonZeroU32::new(5));
    let standing = |level: Level| {
        let Standing { remaining, next, .. } = Standing::of(0, quota, level);
        (remaining, next)
    };
    assert_eq!(standing(quota.full()), (5, 0));
    assert_eq!(standing(Level::tokens(4)), (4, 1_000_000_000));
    assert_eq!(standing(Level::default()), (0, 1_000_000_000));
}
