//! Rules that are edited while they limit.

use proptest::prelude::*;
use serde_json::json;

use crate::engine::Engine;
use crate::testing::*;
use crate::unit::Rate;

/// A rate and a burst, as one revision of the rule has them.
type Amount = (&'static str, u32);

/// One revision of the rule: what everybody has, and what the key `own` has instead, if it has an override.
type Revision = (Amount, Option<Amount>);

/// Where tokens are: whose, and whether in the bucket of an override.
type Bucket = (&'static str, bool);

const BUCKETS: [Bucket; 4] = [("a", false), ("b", false), ("own", false), ("own", true)];

const NANOS_PER_HOUR: u128 = 3_600 * SECOND as u128;

fn amounts() -> impl Strategy<Value = Amount> {
    (prop::sample::select(vec!["1/h", "5/s", "100/s", "3000/s", "50000/s", "4294967295/s"]), 1..2_000_u32)
}

fn revised(number: usize, ((rate, burst), own): Revision, keyed: bool) -> Engine {
    let mut rule = json!({ "name": "r", "rate": rate, "burst": burst });
    if keyed {
        rule["key"] = json!([{ "header": "k" }]);
        let own = own.map(|(rate, burst)| json!({ "key": "own", "rate": rate, "burst": burst }));
        rule["overrides"] = json!(own.as_slice());
    }
    engine_at(1 + number as u64, json!([{ "name": "p", "rateLimits": [rule] }]))
}

/// What a revision gives a bucket, in tokens an hour and tokens; `None` where it does not use it.
fn terms((common, own): Revision, (key, is_own): Bucket) -> Option<(u128, u128)> {
    let own = own.filter(|_| key == "own");
    if own.is_some() != is_own {
        return None;
    }
    let (rate, burst) = own.unwrap_or(common);
    let rate: Rate = rate.parse().unwrap();
    let periods = NANOS_PER_HOUR / u128::from(rate.period_nanos());
    Some((u128::from(rate.amount().get()) * periods, u128::from(burst)))
}

/// A step's end, as far as one bucket is concerned.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: u64,
    /// Tokens that were taken from it in the step.
    taken: u128,
    /// The greatest rate and burst in force for it until then; those it was left with where there are none.
    rate: u128,
    burst: u128,
    /// The step gave a worker an override that it had not had: a bucket that was thrown away is full again.
    is_made: bool,
}

proptest! {
    /// Over any schedule of arrivals, ticks and edits (rate, burst, overrides that come, change and go) on any number of workers, which get an edit one after another and whose clocks
    /// differ, of one bucket for all or of each key's: never more than burst, inflow, a lease for each worker, and a burst for each time that an override is made.
    #[test]
    fn never_more_than_burst_and_rate_allow(
        keyed in any::<bool>(),
        revisions in prop::collection::vec((amounts(), prop::option::of(amounts())), 1..5),
        workers in 1..5_usize,
        steps in prop::collection::vec((0..4_usize, 0..100_u8, 0..5_000_u64, 0..3_usize, 1..60_usize), 1..120),
        skew in prop::collection::vec(0..2_000_u64, 5),
    ) {
        let revisions: Vec<Revision> =
            revisions.into_iter().map(|(common, own)| (common, own.filter(|_| keyed))).collect();
        let mut engines: Vec<(usize, Engine)> =
            (0..workers).map(|_| (0, revised(0, revisions[0], keyed))).collect();
        let (mut store, mut now) = (Shared::default(), SECOND);
        let mut histories: [Vec<Moment>; BUCKETS.len()] = Default::default();
        for (worker, action, gap, key, requests) in steps {
            let worker = worker % workers;
            now += gap * 10_000;
            let theirs = now + skew[worker] * 1_000;
            // One that nobody has any more holds for those behind it, until somebody ahead of it asks.
            let oldest = engines.iter().map(|(revision, _)| *revision).min().unwrap();
            let newest = engines.iter().map(|(revision, _)| *revision).max().unwrap();
            let in_force = &revisions[oldest..=newest];
            let (revision, engine) = &mut engines[worker];
            let before = revisions[*revision];
            let mut taken = (("", false), 0);
            match action {
                0..10 => engine.tick(&mut store, theirs),
                10..25 if *revision + 1 < revisions.len() => {
                    if action < 20 {
                        engine.retire(&mut store, theirs);
                    }
                    *revision += 1;
                    *engine = revised(*revision, revisions[*revision], keyed);
                    // It comes into force with its first use.
                    engine.tick(&mut store, theirs);
                }
                _ => {
                    let key = if keyed { ["a", "b", "own"][key] } else { "a" };
                    let request = Described::default().header("k", key);
                    let passed = count(engine, &request, &mut store, theirs, requests);
                    taken = ((key, key == "own" && before.1.is_some()), passed as u128);
                }
            }
            for (bucket, history) in BUCKETS.into_iter().zip(&mut histories) {
                let mut given = in_force.iter().filter_map(|revision| terms(*revision, bucket)).peekable();
                let (rate, burst) = if given.peek().is_some() {
                    given.fold((0, 0), |(rate, burst), given| (given.0.max(rate), given.1.max(burst)))
                } else {
                    history.last().map_or((0, 0), |last| (last.rate, last.burst))
                };
                let taken = if taken.0 == bucket { taken.1 } else { 0 };
                let has = |revision: Revision| revision.1.is_some();
                let is_made = bucket.1 && !has(before) && has(revisions[*revision]);
                history.push(Moment { now, taken, rate, burst, is_made });
            }
        }
        for (bucket, history) in BUCKETS.into_iter().zip(&histories) {
            for first in 0..history.len() {
                let (mut taken, mut inflow, mut widest, mut made) = (0, 0, 0, 0);
                for last in first..history.len() {
                    let moment = history[last];
                    taken += moment.taken;
                    widest = widest.max(moment.burst);
                    made += u128::from(moment.is_made);
                    if last > first {
                        inflow += moment.rate * u128::from(moment.now - history[last - 1].now);
                    }
                    // Clocks differ by up to 2 ms. A lease is at most a hundredth of the burst; an engine that was not retired leaves one behind.
                    let skewed = inflow + 2 * u128::from(MS) * moment.rate;
                    let leases = widest / 100 * (workers as u128);
                    prop_assert!(
                        taken.saturating_sub(widest * (1 + made) + leases) * NANOS_PER_HOUR <= skewed,
                        "{bucket:?}: {taken} between steps {first} and {last}: burst {widest}, made {made}, leases {leases}, inflow {}",
                        skewed / NANOS_PER_HOUR
                    );
                }
            }
        }
    }
}
