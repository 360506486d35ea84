//! Several workers at once: what holds in whatever order their store operations happen.

use std::collections::BTreeMap;
use std::sync::Mutex;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::circuit_breaker::record::decode;
use crate::testing::interleaving::{Scheduled, interleave};

/// One thing a worker does; outcomes are those of the oldest admission that it still has.
#[derive(Debug, Clone, Copy)]
enum Step {
    Ask,
    Succeed,
    Fail,
    Leave,
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Step::{Ask, Fail, Leave, Succeed, Tick};
    prop::collection::vec(
        prop::sample::select(vec![Ask, Ask, Ask, Succeed, Succeed, Fail, Leave, Tick]),
        1..25,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Four workers ask at once after the breaker's time is over, in any interleaving of their store operations.
    #[test]
    fn exactly_the_probes_pass_under_any_interleaving(
        schedule in prop::collection::vec(any::<u8>(), 1..200),
        asks in 1..4_usize,
        fails in any::<bool>(),
    ) {
        let mut store = Shared::default();
        opened(&mut keyless(), &mut store, SECOND);
        let memory = store.memory.borrow().clone();
        let work = |_: usize, store: &mut Scheduled| {
            let mut engine = keyless();
            let admissions: Vec<_> = (0..asks).filter_map(|_| ask(&mut engine, &Described::default(), store, 4 * SECOND)).collect();
            let probes = admissions.iter().filter(|admission| admission.is_probe()).count();
            assert_eq!(probes, admissions.len());
            (admissions, engine.store_failures(), changes(&mut engine))
        };
        let (results, memory) = interleave(memory, &schedule, 4, work);
        let probes: usize = results.iter().map(|(admissions, ..)| admissions.len()).sum();
        prop_assert_eq!(probes, 3.min(4 * asks));
        prop_assert_eq!(results.iter().map(|(_, failures, _)| failures).sum::<u64>(), 0);
        let all_changes: Vec<_> = results.iter().flat_map(|(.., changes)| changes.clone()).collect();
        prop_assert_eq!(all_changes, ["half-open"]);

        // Their results come in at once, too.
        let results = Mutex::new(results.into_iter().map(|(admissions, ..)| admissions).collect::<Vec<_>>());
        let work = |worker: usize, store: &mut Scheduled| {
            let mut engine = keyless();
            let admissions = std::mem::take(&mut results.lock().unwrap()[worker]);
            for admission in admissions {
                engine.complete(admission, if fails { FAILED } else { OK }, store, 5 * SECOND);
            }
            changes(&mut engine)
        };
        let (results, _) = interleave(memory, &schedule, 4, work);
        let expected: &[&str] = if fails { &["open"] } else if probes == 3 { &["closed"] } else { &[] };
        prop_assert_eq!(results.concat(), expected);
    }

    /// Of two half-open breakers and a limit, a request that one of them rejects keeps nothing, in any interleaving.
    #[test]
    fn who_gets_no_ticket_gives_back_what_else_it_had(schedule in prop::collection::vec(any::<u8>(), 1..200)) {
        let rule = |name: &str, probes: u32| json!({ "name": name, "window": "10s", "minRequests": 4,
            "trip": { "errorRatio": "50%" }, "openFor": "2s", "probes": probes });
        let limit = json!([{ "name": "r", "rate": "1/h", "burst": 20 }]);
        let both = json!([{ "name": "p", "rateLimits": limit, "circuitBreakers": [rule("a", 3), rule("b", 2)] }]);
        let mut store = Shared::default();
        let mut first = engine(both.clone());
        for _ in 0..4 {
            assert!(send(&mut first, &Described::default(), FAILED, &mut store, SECOND));
        }
        first.retire(&mut store, SECOND);
        prop_assert_eq!(changes(&mut first), ["open", "open"]);

        let work = |_: usize, store: &mut Scheduled| {
            let mut engine = engine(both.clone());
            let admissions: Vec<_> = (0..3).filter_map(|_| ask(&mut engine, &Described::default(), store, 4 * SECOND)).collect();
            admissions.len()
        };
        let memory = store.memory.borrow().clone();
        let (admitted, memory) = interleave(memory, &schedule, 4, work);
        prop_assert_eq!(admitted.iter().sum::<usize>(), 2);
        *store.memory.borrow_mut() = memory;

        let mut tickets = engine(json!([{ "name": "p", "circuitBreakers": [rule("a", 3)] }]));
        prop_assert_eq!(count(&mut tickets, &Described::default(), &mut store, 4 * SECOND, 9), 1, "tickets of a are left");
        let mut tokens = engine(json!([{ "name": "p", "rateLimits": limit }]));
        prop_assert_eq!(count(&mut tokens, &Described::default(), &mut store, 4 * SECOND, 99), 20 - 4 - 2, "tokens are left");
    }

    /// Any steps of three workers, in any interleaving: the breaker's changes form a chain, no half-open has more than its tickets, and what closes it are as
    /// many successes as there are probes.
    #[test]
    fn every_half_open_is_decided_by_its_own_probes(
        schedule in prop::collection::vec(any::<u8>(), 1..200),
        scripts in prop::collection::vec(steps(), 3),
    ) {
        let mut store = Shared::default();
        opened(&mut keyless(), &mut store, SECOND);
        let work = |worker: usize, store: &mut Scheduled| {
            let mut engine = keyless();
            let mut now = 3 * SECOND;
            let mut held = std::collections::VecDeque::new();
            let (mut given, mut ended) = (Vec::new(), Vec::new());
            for step in &scripts[worker] {
                now += 200 * MS;
                let outcome = match step {
                    Step::Ask => {
                        if let Some(admission) = ask(&mut engine, &Described::default(), store, now) {
                            let (_, watch) = admission.watches().next().unwrap();
                            given.extend(watch.is_probe().then_some(watch.generation));
                            held.push_back(admission);
                        }
                        continue;
                    }
                    Step::Tick => {
                        engine.tick(store, now);
                        continue;
                    }
                    Step::Succeed => OK,
                    Step::Fail => FAILED,
                    Step::Leave => GONE,
                };
                let Some(admission) = held.pop_front() else { continue };
                let (_, watch) = admission.watches().next().unwrap();
                if watch.is_probe() {
                    ended.push((watch.generation, outcome));
                }
                engine.complete(admission, outcome, store, now);
            }
            (given, ended, engine.take_transitions().into_iter().map(|transition| transition.to).collect::<Vec<_>>())
        };
        let memory = store.memory.borrow().clone();
        let (results, mut memory) = interleave(memory, &schedule, 3, work);

        // Of each half-open: tickets given, successes, failures, and tickets given back.
        let mut half_opens: BTreeMap<u64, [u32; 4]> = BTreeMap::new();
        for generation in results.iter().flat_map(|(given, ..)| given) {
            half_opens.entry(*generation).or_default()[0] += 1;
        }
        for (generation, outcome) in results.iter().flat_map(|(_, ended, _)| ended) {
            let kind = if *outcome == OK { 1 } else if *outcome == FAILED { 2 } else { 3 };
            half_opens.entry(*generation).or_default()[kind] += 1;
        }
        for [given, succeeded, failed, back] in half_opens.values() {
            prop_assert!(*given <= 3 + back, "{given} tickets, {back} given back");
            prop_assert!(succeeded + failed <= 3);
        }

        // Each change is reported once, by the worker that made it, and they form a chain from the first opening to the last state.
        let count = |state| results.iter().flat_map(|(.., changes)| changes).filter(|to| **to == state).count();
        let mut record = Vec::new();
        memory.read(b"spillway/1/breaker/p/b", &mut record).unwrap();
        let last = decode(&record, 1).unwrap()[0].state.kind();
        prop_assert_eq!(count(BreakerState::HalfOpen), half_opens.len());
        prop_assert_eq!(1 + count(BreakerState::Open), half_opens.len() + usize::from(last == BreakerState::Open));
        let all_succeeded = half_opens.values().filter(|[_, succeeded, ..]| *succeeded == 3).count();
        prop_assert_eq!(count(BreakerState::Closed), all_succeeded);
    }
}
